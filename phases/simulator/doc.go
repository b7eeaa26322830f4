// Package simulator is a whole cluster in memory, for tests of the phases: a
// kubeadm cluster with one control-plane node, the machines that are to join
// it, and the operator's way to all of them.
//
// It is made of real parts wherever that is cheap. Scripts run in a real
// shell (a Go one) over the files of a host; certificates are signed and
// checked; the API server and the etcd members are real TLS servers, reached
// by the real clients, each with the certificates, flags and files that it
// has on its host. What is made up is what those programs do inside: one raft
// log that always agrees, a kubelet that starts what the manifests folder
// holds, nginx that reads its files, kubeadm that writes what kubeadm writes.
//
// Everything takes the time it takes on real machines, so a test runs inside
// testing/synctest, whose clock jumps. The World does nothing by itself: what
// was due in the meantime happens when somebody next looks (World.settle), so
// two runs of the same steps are equal.
//
// What a World is made of is data, all of it in model.go. Its parts are connected
// in assembly.go: the network does not know who listens, nor the shell which
// programs there are. A kind of server or a program is added there.
//
// Every change that the operator's program makes, on hosts, in etcd and
// through the API, is one operation of World.Faults and may be made to fail
// or to be the program's last.
package simulator
