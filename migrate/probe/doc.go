// Package probe measures whether clients can use the Kubernetes API while a
// migration runs, so that "nobody noticed" is a figure and not a hope.
//
// Through each path (the load balancer, the old address, the kubernetes
// Service as a node sees it) it does what clients do, as four kinds:
//
//   - new connection read: TCP, TLS handshake and one GET, every time again;
//     GET /readyz and an authenticated GET of a ConfigMap take turns.
//   - kept read: GET of a ConfigMap by client-go on its kept connection.
//   - kept write: create, update and delete of ConfigMaps, likewise.
//   - watch: the event of every acknowledged write of that path must arrive.
//
// What makes the figures honest:
//
//  1. The loop is open: a request is due every interval whatever became of
//     the ones before, so an outage shows as failures at the full rate. A
//     request that finds too many waiting is not sent and is a failure.
//  2. Nothing is tried again in secret. client-go's throttling is off. What
//     Go's HTTP transport sends again by itself (a kept connection that closed
//     before the request was taken; every client-go program does that) is no
//     failure but counted as a replay. What client-go makes again because the
//     answer was 429 or 503 with Retry-After, as it does for every caller, is
//     no failure when it then succeeds within the same time limit, but counted
//     as a retry. What it makes again because there was no answer is a failure.
//  3. A late answer is a failure (Config.Timeout), and so is an answer to a
//     read that is not the expected object of this very cluster.
//  4. A watch may be started again from the last resourceVersion, as
//     client-go's informers do. A watch request that is refused is a failure;
//     an event that never arrives is a missed event and a failure.
//  5. A write whose outcome is unknown is a failure, and nothing is expected
//     of it afterwards: its event may come or not.
//  6. Time in which this process itself did not run is reported, as requests
//     not sent (skipped) and as requests whose answer nobody was there to take
//     (unjudged), and not passed over as if all had been well.
//
// A figure before Probe.Quiet belongs to the quiet measurement, with which a
// slow-down during the run can be compared.
package probe
