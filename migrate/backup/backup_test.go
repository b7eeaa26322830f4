package backup_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/backup"
	"hamigrate/migrate/etcd"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// TestRealEtcd takes a backup of a real etcd, destroys it, and restores it to
// three members, which run.
func TestRealEtcd(t *testing.T) {
	t.Parallel()
	tools := newTools(t)
	old := tools.start(t, "old", filepath.Join(t.TempDir(), "old"), tools.address(t), "")
	c := tools.client(t, old)
	for i := range 300 {
		put(t, c, fmt.Sprintf("/registry/pods/%03d", i%100), fmt.Sprint(i))
	}
	for i := range 10 {
		if _, err := c.Delete(t.Context(), fmt.Sprintf("/registry/pods/%03d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Compact(t.Context(), 250); err != nil {
		t.Fatal(err)
	}

	dir := filepath.Join(t.TempDir(), "migrate.journal.backups")
	set := take(t, tools.reader(old), dir)
	if set.Etcd.Keys != 90 || set.Etcd.Revision != 311 {
		t.Errorf("%d keys at revision %d", set.Etcd.Keys, set.Etcd.Revision)
	}
	put(t, c, "/registry/pods/after", "is lost")
	old.Close()

	restored := tools.restore(t, set)
	c = tools.client(t, restored[0])
	got, err := c.Get(t.Context(), "/registry/", clientv3.WithPrefix())
	if err != nil || got.Count != 90 || string(got.Kvs[0].Value) != "210" {
		t.Errorf("restored, there are %d keys, the first is %v, %v", got.Count, got.Kvs[0], err)
	}
	if got.Header.Revision <= set.Etcd.Revision+backup.RevisionBump-1 {
		t.Errorf("restored, the revision is %d", got.Header.Revision)
	}
	// Whoever remembers a revision of before must be told that it is gone.
	watch, ok := <-c.Watch(t.Context(), "/registry/", clientv3.WithPrefix(), clientv3.WithRev(set.Etcd.Revision+2))
	if !ok || !errors.Is(watch.Err(), rpctypes.ErrCompacted) {
		t.Errorf("a watch from before goes on: %v", watch.Err())
	}
	// A restored cluster can be backed up, too.
	again := take(t, tools.reader(restored...), dir)
	if again.Etcd.Revision <= backup.RevisionBump || !strings.HasPrefix(again.Etcd.HashKVSame, "equal") {
		t.Errorf("of the restored cluster: %+v", again.Etcd)
	}
	sets, err := backup.List(dir)
	if err != nil || len(sets) != 2 || sets[0].Folder != set.Folder {
		t.Errorf("listed: %v, %v", sets, err)
	}
}

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// take takes a backup and looks at what a stranger could.
func take(t *testing.T, members backup.Members, dir string) backup.Set {
	t.Helper()
	src := backup.Source{Members: members, Node: node(t), Cluster: "flagship", Identity: "uid"}
	set, err := backup.Take(t.Context(), src, backup.Options{Dir: dir, Phase: 2, Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		info, statErr := d.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; err == nil && statErr == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode())
		}
		return errors.Join(err, statErr)
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := backup.Load(set.Folder); err != nil {
		t.Error(err)
	}
	if strings.HasPrefix(set.Etcd.Version, "3.6.") && !strings.HasPrefix(set.Etcd.HashKVSame, "equal") && !strings.HasPrefix(set.Etcd.HashKVSame, "not compared: etcd was compacted") {
		t.Errorf("the hash: %s", set.Etcd.HashKVSame)
	}
	return set
}

// TestArchiveHoldsNoAuthority looks for what must not leave its node.
func TestArchiveHoldsNoAuthority(t *testing.T) {
	t.Parallel()
	tools := newTools(t)
	old := tools.start(t, "old", filepath.Join(t.TempDir(), "old"), tools.address(t), "")
	put(t, tools.client(t, old), "/registry/pods/a", "a") // an empty database has no revision
	set := take(t, tools.reader(old), t.TempDir())
	f, err := os.Open(set.Path(backup.ArchiveFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if data, err := io.ReadAll(r); err != nil || strings.Contains(string(data), "authority's key") {
			t.Errorf("%s holds %q, %v", h.Name, data, err)
		}
		if h.Name == "etc/kubernetes/pki/sa.key" && (h.Mode != 0o600 || h.Uname != "root") {
			t.Errorf("%s: mode %o, owner %s", h.Name, h.Mode, h.Uname)
		}
	}
	for _, must := range []string{"admin.conf", "pki/sa.key", "pki/ca.crt", "pki/other.key", "pki/other.key.bak", "pki/africa.key", "manifests/kube-apiserver.yaml"} {
		if !slices.Contains(names, "etc/kubernetes/"+must) {
			t.Errorf("%s is not in it", must)
		}
	}
	if len(set.Kubernetes.LeftOut) != 14 || set.Kubernetes.Files != len(names) {
		t.Errorf("left out: %q; %d files of %d", set.Kubernetes.LeftOut, set.Kubernetes.Files, len(names))
	}
}

// TestLoadRefuses damaged and foreign folders.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	tools := newTools(t)
	old := tools.start(t, "old", filepath.Join(t.TempDir(), "old"), tools.address(t), "")
	put(t, tools.client(t, old), "/registry/pods/a", "a") // an empty database has no revision
	set := take(t, tools.reader(old), t.TempDir())
	if _, err := backup.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is no backup") {
		t.Errorf("an empty folder: %v", err)
	}
	data, err := os.ReadFile(set.Path(backup.SnapshotFile))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(set.Path(backup.SnapshotFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Load(set.Folder); err == nil || !strings.Contains(err.Error(), "is not what was saved") {
		t.Errorf("a snapshot with one bit changed: %v", err)
	}
	// A device has no end: a sum of it would never be done.
	if err := errors.Join(os.Remove(set.Path(backup.SnapshotFile)), os.Symlink("/dev/zero", set.Path(backup.SnapshotFile))); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Load(set.Folder); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("a snapshot that is a device: %v", err)
	}
}

// broken is a member that sends half of its snapshot, or says other things.
type broken struct {
	backup.Members
	half bool
	keys int64
}

func (b broken) Snapshot(ctx context.Context, host string) (io.ReadCloser, error) {
	r, err := b.Members.Snapshot(ctx, host)
	if err != nil || !b.half {
		return r, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return io.NopCloser(strings.NewReader(string(data[:len(data)/2/4096*4096]))), err
}

func (b broken) CountKeys(ctx context.Context, host string, revision int64) (int64, error) {
	n, err := b.Members.CountKeys(ctx, host, revision)
	return n + b.keys, err
}

// TestTakeRefuses what is not whole, and leaves nothing behind.
func TestTakeRefuses(t *testing.T) {
	t.Parallel()
	tools := newTools(t)
	members := tools.reader(tools.start(t, "old", filepath.Join(t.TempDir(), "old"), tools.address(t), ""))
	for name, b := range map[string]broken{"half a snapshot": {Members: members, half: true}, "other keys": {Members: members, keys: 1}} {
		dir := t.TempDir()
		_, err := backup.Take(t.Context(), backup.Source{Members: b, Node: node(t)}, backup.Options{Dir: dir})
		if err == nil {
			t.Errorf("%s: taken", name)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != ".lock" {
			t.Errorf("%s: %v, %v is left", name, left, err)
		}
	}
}

// TestFitsServer: an older etcd can't read a newer one's storage.
func TestFitsServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		snapshot, server string
		fits             bool
	}{{"3.5.24", "3.5.24", true}, {"3.5.24", "3.6.8", true}, {"3.6.8", "3.5.24", false}, {"3.6.8", "3.7.0", false}, {"3.6.8", "what", false}} {
		if err := (backup.Snapshot{Version: c.snapshot}).FitsServer(c.server); (err == nil) != c.fits {
			t.Errorf("a snapshot of %s to a server of %s: %v", c.snapshot, c.server, err)
		}
	}
}

// tools starts members with certificates of their own.
type tools struct {
	info transport.TLSInfo
	tls  *tls.Config
}

func newTools(t *testing.T) tools {
	t.Helper()
	info, err := transport.SelfCert(zap.NewNop(), filepath.Join(t.TempDir(), "certs"), []string{"127.0.0.1:0"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(info.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return tools{info, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
}

// address is one that nobody listens on.
func (tools) address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts a member; peers is its initial cluster, "" for one of its own.
func (x tools) start(t *testing.T, name, dir, peer, peers string) *embed.Etcd {
	t.Helper()
	e := x.begin(t, name, dir, peer, peers)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		t.Fatal("etcd did not become ready")
	}
	return e
}

func (x tools) begin(t *testing.T, name, dir, peer, peers string) *embed.Etcd {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = name, dir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.ClientTLSInfo = x.info
	at := []url.URL{{Scheme: "http", Host: peer}}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = at, at
	clients := []url.URL{{Scheme: "https", Host: x.address(t)}}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = clients, clients
	cfg.InitialCluster = peers
	if peers == "" {
		cfg.InitialCluster = cfg.InitialClusterFromName(name)
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-e.Server.StopNotify(): // closed by the test: a second time panics
		default:
			e.Close()
		}
	})
	return e
}

func (x tools) reader(members ...*embed.Etcd) *etcd.Reader {
	var endpoints []etcd.Endpoint
	for _, m := range members {
		endpoints = append(endpoints, etcd.Endpoint{Host: m.Config().Name, Address: m.Clients[0].Addr().String(), Dial: new(net.Dialer).DialContext})
	}
	return &etcd.New(x.tls, endpoints).Reader
}

func (x tools) client(t *testing.T, m *embed.Etcd) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://" + m.Clients[0].Addr().String()}, TLS: x.tls, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// restore makes three members from a snapshot and starts them.
func (x tools) restore(t *testing.T, set backup.Set) []*embed.Etcd {
	t.Helper()
	names := []string{"e1", "e2", "e3"}
	addresses, parts := map[string]string{}, []string{}
	for _, n := range names {
		addresses[n] = x.address(t)
		parts = append(parts, n+"=http://"+addresses[n])
	}
	cluster := strings.Join(parts, ",")
	const token = "restore-1"
	id, err := backup.ClusterID(cluster, token)
	if err != nil {
		t.Fatal(err)
	}
	var out []*embed.Etcd
	for _, n := range names {
		m := backup.Member{Snapshot: set.Path(backup.SnapshotFile), DataDir: t.TempDir(), Name: n, PeerURL: "http://" + addresses[n], InitialCluster: cluster, Token: token}
		if err := os.MkdirAll(filepath.Join(m.DataDir, ".restoring", "member"), 0o700); err != nil { // of one that was killed
			t.Fatal(err)
		}
		if err := m.Restore(); err != nil {
			t.Fatal(err)
		}
		if err := m.Restore(); !errors.Is(err, fs.ErrExist) {
			t.Errorf("restored over data: %v", err)
		}
		if left, err := os.ReadDir(m.DataDir); err != nil || len(left) != 1 {
			t.Errorf("the data folder holds %v, %v", left, err)
		}
		if err := os.Chmod(m.DataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		out = append(out, x.begin(t, n, m.DataDir, addresses[n], cluster))
	}
	for _, e := range out {
		select {
		case <-e.Server.ReadyNotify():
		case <-time.After(time.Minute):
			t.Fatal("the restored members did not become ready")
		}
	}
	for _, a := range x.reader(out...).Statuses(t.Context()) {
		if a.Err != nil || a.Status.ClusterID != id {
			t.Errorf("the member %s is of cluster %x, not %x; %v", a.Host, a.Status.ClusterID, id, a.Err)
		}
	}
	return out
}
