// Package e2e migrates a real cluster with the real binary and looks at what
// came of it.
//
// There are two tests. TestMigration is one chained scenario on one playground
// of its own, which it makes and removes. TestChaos, which runs only where
// CHAOS=1 (make chaos), takes an hour to kill the program and to break what it
// works on; docs/chaos.md tells of it. Both know the program under test only
// from outside, by its commands, flags, exit codes and files; every assertion
// is made through clients of its own (client-go, etcd's client, SSH), none
// through this module's packages. TestImportsNothing keeps that true, so a
// mistake in the program cannot hide behind the same mistake here.
//
// The stages, in order:
//
//   - a playground is made, with the profile veteran (docs/playground.md): a
//     cluster that years and several engineers have worked on. It is filled: Deployments, Secrets, ConfigMaps, a
//     custom resource, a service account's token. When all is quiet, every key
//     of etcd below /registry is kept.
//   - SSH as people have it: a bastion, an agent, hashed names, a host
//     certificate, one session at a time; a passphrase and sudo's password, asked
//     for on a terminal.
//   - init writes a spec, which with its blanks filled in leads to the same
//     plan as the playground's own; audit finds what is there once; plan says
//     the same thing twice and changes nothing.
//   - wrong host keys are refused.
//   - a login that may only look, by the file that the program prints for it, is
//     told what root is told, and changes nothing with all that the file allows.
//   - phase 1 runs; then the rest is killed in the middle of phase 2,
//     refused with another spec, refused while another run is at work, and
//     killed at more points, which SEED chooses, and carried to its end. All
//     the while independent writers keep a list of the writes that the API
//     acknowledged. On the ways back, half way there and in a whole run, a slow client has six
//     requests under way at any time, and none of them may be cut.
//   - the end: nodes, members, hashes, arguments, certificates, sockets,
//     configuration, every key of before, every acknowledged write. The joined
//     nodes differ in nothing from the first but in what is a node's own, no
//     time zone was written over, etcd is scraped, audit logs grow, and strangers
//     are told no more than before.
//   - what the program says of the end: audit finds redundant what it called
//     removable before, verify is well, is not with a member stopped, and is well
//     again, modes, owners and arguments are as the CIS benchmark wants them, the
//     report has every form.
//   - its use: a new worker joins, kubeadm upgrade plans, Secrets and
//     Deployments go in through one API server and come out of the others.
//   - its purpose: with the leading etcd host off the API writes, with the first
//     control-plane node off it answers and names resolve.
//   - with LONG=1: each phase is undone from its end, newest first, refused
//     out of order, and with a worker that joined since: every write
//     acknowledged on the way is there, and files, services, listeners,
//     arguments and objects are what they were, but for what is named
//     (inventory_test.go, exceptions_test.go). Then to the middle of phase 2 and
//     back; phase 1 by the commands of its playbook; forward again as a user with
//     sudo, by the file that the program prints, with that load balancer as somebody else's; certificates are renewed;
//     all members are destroyed and restored from a backup.
//   - the playground is taken down and nothing of it is left.
//
// A stage that others build on ends the chain when it fails; the ones that
// only look are all tried.
//
// # Running it
//
//	go test ./e2e -timeout 90m
//
// as root on Linux, with the Debian packages that the playground asks for. It
// takes from seven minutes to twenty, with LONG=1 from twenty to fifty, as the
// two processors are, when binaries and images are cached, and up to twenty more
// when they are not.
// -short leaves the playground out, but not where CI is true.
//
//	KUBERNETES=1.33.13   the version of the cluster (default 1.36.3)
//	SUDO_USER_MODE=1     hosts take no root login, only a user with sudo, by the file
//	                     that the program prints for the whole migration
//	MIGRATE_BIN=FILE     the binary under test, seen from the top of the repository
//	                     (default: built from cmd/migrate)
//	E2E_NAME=NAME        the playground's name (default e2e)
//	SHAPE=haproxy        the load balancer: HAProxy in the place of nginx; with LONG=1 what
//	                     makes an nginx somebody else's is left out
//	SEED=1               chooses the points of the later kills
//	LONG=1               more stages, see above, as make has it; LONG=only leaves
//	                     out what they do not build on
//	KEEP=1               leave the playground up
//
// What the binary printed is in out/e2e at the top of the repository, after a
// failure also the journal, the hosts' logs and what the cluster looked like.
package e2e
