package simulator

import (
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"slices"
	"strings"
	"time"
)

// bump is what a restored cluster's revision is raised by.
const bump = 1_000_000_000

// RestoredID is the ID of a cluster restored with a token.
func RestoredID(token string) uint64 { return uint64(crc32.ChecksumIEEE([]byte(token))) + 0xc0000 }

// SnapshotOf is what this world takes for a snapshot at a revision.
func SnapshotOf(revision int64) string { return fmt.Sprintf("snapshot at revision %d\n", revision) }

// StaleAddress is where an API server was when a snapshot was taken, and none
// is now.
const StaleAddress = "10.88.0.99"

// Lose is the end of the members on these machines: their data is gone, and
// systemd starts them again and again.
func (w *World) Lose(hosts ...string) error {
	for _, h := range hosts {
		if err := w.Root(h, "systemctl stop etcd.service; rm -rf /var/lib/etcd-external/member; systemctl start etcd.service"); err != nil {
			return err
		}
	}
	return nil
}

// restoreMember plays the program's own command on an etcd host.
func restoreMember(p program) error {
	flags, rest := p.options("--snapshot", "--data-dir", "--owner", "--name", "--peer-url", "--initial-cluster", "--token")
	if len(rest) != 1 || rest[0] != "restore-member" {
		return fmt.Errorf("%q is not played", p.args)
	}
	var revision int64
	if _, err := fmt.Sscanf(p.host.read(flags["--snapshot"]), "snapshot at revision %d\n", &revision); err != nil {
		return errors.New("snapshot file integrity check failed")
	}
	to := path.Join(flags["--data-dir"], "member")
	if p.host.has(to) {
		return fmt.Errorf("%s is there already", to)
	}
	if !p.host.users[flags["--owner"]] {
		return fmt.Errorf("unknown user %s", flags["--owner"])
	}
	c := p.host.world.restoredCluster(flags["--token"], flags["--initial-cluster"], revision)
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.name == flags["--name"] && m.peerURLs[0] == flags["--peer-url"] })
	if i < 0 {
		return fmt.Errorf("%s is not in the initial cluster", flags["--name"])
	}
	p.sleep(3 * time.Second)
	p.host.put(to+"/snap/db", fmt.Sprintf(identity, c.id, c.members[i].id), 0o600, flags["--owner"]+":"+flags["--owner"])
	return nil
}

// restoredCluster is the cluster of a token; the API servers write to it from
// the start of its first member on.
func (w *World) restoredCluster(token, initial string, revision int64) *etcdCluster {
	for _, c := range w.clusters {
		if c.id == RestoredID(token) {
			return c
		}
	}
	c := &etcdCluster{id: RestoredID(token), index: 3, revision: revision + bump, restored: true, keys: map[string]key{}, leases: map[int64]time.Duration{}}
	for i, part := range strings.Split(initial, ",") {
		name, url, _ := strings.Cut(part, "=")
		c.members = append(c.members, &member{id: c.id<<8 + uint64(i), name: name, peerURLs: []string{url}})
	}
	for _, address := range []string{StaleAddress, w.Spec.ControlPlane.First.Address} {
		c.keys[masterLeases+address] = key{value: address}
	}
	w.clusters = append(w.clusters, c)
	return c
}

// serveRestored makes a restored cluster the one that the API servers use.
// Nothing may write while that happens.
func (w *World) serveRestored(c *etcdCluster) {
	if !c.restored || w.store() == c {
		return
	}
	for _, h := range w.all() {
		for _, name := range []string{apiComm, "kube-controller", "kube-scheduler"} {
			if len(h.running(name)) > 0 {
				w.never("%s ran on %s while etcd was restored", name, h.Name())
			}
		}
		for _, s := range h.boots {
			if s.cluster != c {
				w.never("the member on %s was still one of the old cluster while the new one was started", h.Name())
			}
		}
	}
	w.clusters = slices.DeleteFunc(w.clusters, func(have *etcdCluster) bool { return have == c })
	w.clusters = slices.Insert(w.clusters, 0, c)
}
