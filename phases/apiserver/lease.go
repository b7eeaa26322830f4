package apiserver

// Leases is where API servers publish themselves in etcd: the kubernetes
// endpoints are filled from the values of these keys
// (pkg/controlplane/reconcilers/lease.go: ListLeases).
const Leases = "/registry/masterleases/"

// LeaseKey is the key of the lease of the API server with an advertise address.
func LeaseKey(address string) string { return Leases + address }
