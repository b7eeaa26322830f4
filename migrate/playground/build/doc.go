// Package build makes what a kubeadm cluster is started from: the binaries
// of Kubernetes, etcd and CoreDNS, and the container images under the names
// kubeadm asks for. Everything is compiled from Go modules, but for the
// iptables tools under kube-proxy, which are Debian packages: neither a
// container registry nor a release download is needed.
//
// The first call of Ensure for a Kubernetes version takes minutes; what it
// makes stays in the cache folder, and later calls only look whether it is
// whole. The folder holds
//
//	lock                          held while something is being made
//	kubernetes-1.36.3/            one part: its files and a stamp.json
//	etcd-3.6.8/  coredns-1.14.2/  parts shared by Kubernetes versions
//	pause-3.10.2/  network-tools/
//	cluster-1.36.3/bin, /images   the result: what Artifacts names
//	.new-*, .old-*                leftovers of an interrupted call
//
// A part is made in a .new- folder of its own and renamed when it is whole.
// Its stamp holds a digest of the recipe it was made by, so that a part
// whose recipe has changed since is made again.
package build
