package verify

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// The items are those of the CIS Kubernetes Benchmark 1.12, as kube-bench asks
// them (aquasecurity/kube-bench: cfg/cis-1.12), of which the migration makes or
// edits the file or the process.

// ownerRoot is what all of them but etcd's data are to have.
const ownerRoot = "root:root"

// fileItem is an item about a file: its mode has no bit that most lacks, and it
// is owned by owner. An item that asks one of the two leaves the other empty.
type fileItem struct {
	item, file string
	most       fs.FileMode
	owner      string
	carried    bool // the file is somebody else's, and is on a joining node as it is on the first
}

// modeAndOwner are the two items that the benchmark has for a file.
func modeAndOwner(mode, owner, file string) []fileItem {
	return []fileItem{{item: mode, file: file, most: 0o600}, {item: owner, file: file, owner: ownerRoot}}
}

// cis looks at the target for what it is to the cluster.
func cis(ctx context.Context, v phases.Reader) ([]Finding, error) {
	plane, first := slices.Contains(planes(v), v.Target()), v.Target() == v.First().Name
	member := slices.ContainsFunc(v.Spec().EtcdMembers(), func(h cluster.Host) bool { return h.Name == v.Target() })
	var found []Finding
	var err error
	switch {
	case plane:
		found, err = planeItems(ctx, v)
	case member:
		found, err = memberItems(ctx, v)
	default:
		found, err = fileItems(ctx, v, kubeletItems())
	}
	// A migration keeps modes, owners and arguments of what it edits: what is not
	// so on a host that was there before was set by somebody else, and is theirs to
	// decide. All else it has made itself.
	for i := range found {
		switch {
		case found[i].OK:
		case first || !plane && !member:
			found[i].OK, found[i].Warning = true, true
			found[i].Seen += "; the migration has not set that, it keeps what this host had"
		case plane && found[i].carried: // with the owner and mode that the step host-files asks for
			found[i].OK, found[i].Warning = true, true
			found[i].Seen += fmt.Sprintf("; it is a copy of the file on %s, which is not kubeadm's: change it there, and `migrate run --phase 3` carries that", v.First().Name)
			found[i].Remedy = fmt.Sprintf("on %s: %s", v.First().Name, found[i].Remedy)
		}
	}
	return found, err
}

func kubeletItems() []fileItem {
	return modeAndOwner("4.1.5", "4.1.6", "/etc/kubernetes/kubelet.conf")
}

// planeItems are those of a control-plane node.
func planeItems(ctx context.Context, v phases.Reader) ([]Finding, error) {
	items := slices.Concat(
		modeAndOwner("1.1.1", "1.1.2", kube.APIServer.ManifestPath()),
		modeAndOwner("1.1.3", "1.1.4", kube.ControllerManager.ManifestPath()),
		modeAndOwner("1.1.5", "1.1.6", kube.Scheduler.ManifestPath()),
		modeAndOwner("1.1.7", "1.1.8", phases.EtcdManifest),
		modeAndOwner("1.1.13", "1.1.14", "/etc/kubernetes/admin.conf"),
		modeAndOwner("1.1.13", "1.1.14", "/etc/kubernetes/super-admin.conf"),
		modeAndOwner("1.1.15", "1.1.16", "/etc/kubernetes/scheduler.conf"),
		modeAndOwner("1.1.17", "1.1.18", "/etc/kubernetes/controller-manager.conf"),
		kubeletItems())
	pki, err := pkiItems(ctx, v)
	if err != nil {
		return nil, err
	}
	found, err := fileItems(ctx, v, append(items, pki...))
	if err != nil {
		return nil, err
	}
	args, err := apiServerItems(ctx, v)
	return append(found, args...), err
}

// pkiItems are those of the folder of certificates and of all in it.
func pkiItems(ctx context.Context, v phases.Reader) ([]fileItem, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	var items []fileItem
	for _, dir := range []string{cc.CertificatesDir(), path.Join(cc.CertificatesDir(), "etcd")} {
		names, err := v.On(v.Target()).List(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		items = append(items, fileItem{item: "1.1.19", file: dir, owner: ownerRoot})
		for _, name := range names {
			file := path.Join(dir, name)
			carried := !kube.OfKubeadm(strings.TrimPrefix(file, cc.CertificatesDir()+"/"))
			switch path.Ext(name) {
			case ".crt":
				items = append(items, fileItem{"1.1.19", file, 0, ownerRoot, carried}, fileItem{"1.1.20", file, 0o644, "", carried})
			case ".key":
				items = append(items, fileItem{"1.1.19", file, 0, ownerRoot, carried}, fileItem{"1.1.21", file, 0o600, "", carried})
			}
		}
	}
	return items, nil
}

// fileItems looks at all files by one command. What is not there has no wrong
// mode; that it is there is asked by other checks.
func fileItems(ctx context.Context, v phases.Reader, items []fileItem) ([]Finding, error) {
	var files []string
	for _, i := range items {
		if !slices.Contains(files, i.file) {
			files = append(files, i.file)
		}
	}
	there, err := remote.LookAt(ctx, v.On(v.Target()), files)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, i := range items {
		if s := there[i.file]; s.Kind == remote.FilePath || s.Kind == remote.FolderPath {
			found = append(found, i.judge(s))
		}
	}
	return found, nil
}

func (i fileItem) judge(s remote.Standing) Finding {
	f := Finding{Item: i.item, File: i.file, OK: true, carried: i.carried}
	if i.owner != "" {
		f.Seen = fmt.Sprintf("CIS %s: %s is owned by %s", i.item, i.file, s.Owner)
		f.OK = s.Owner == i.owner
		f.Remedy = fmt.Sprintf("`chown %s %s`", i.owner, remote.Quote(i.file))
		return f
	}
	f.Seen = fmt.Sprintf("CIS %s: %s has mode %o", i.item, i.file, s.Mode)
	f.OK = s.Mode&^i.most == 0
	f.Remedy = fmt.Sprintf("`chmod %o %s`", i.most, remote.Quote(i.file))
	return f
}

// argument is an item about a process's arguments.
func argument(item string, ok bool, remedy, format string, args ...any) Finding {
	return Finding{Item: item, OK: ok, Seen: fmt.Sprintf("CIS "+item+": "+format, args...), Remedy: remedy}
}

// have is a finding that flags are set.
func have(item string, flags kube.Flags, remedy string, names ...string) Finding {
	var lacks, has []string
	for _, name := range names {
		if value, _ := flags.Get(name); value == "" {
			lacks = append(lacks, "--"+name)
		} else {
			has = append(has, "--"+name+"="+value)
		}
	}
	if len(lacks) > 0 {
		return argument(item, false, remedy, "the running process has no %s", strings.Join(lacks, ", "))
	}
	return argument(item, true, "", "the running process has %s", strings.Join(has, ", "))
}

// apiServerItems are those of the running API server.
func apiServerItems(ctx context.Context, v phases.Reader) ([]Finding, error) {
	p, running, err := v.APIServer(ctx, v.Target())
	if err != nil || !running { // that one runs is asked by another check
		return nil, err
	}
	const remedy = "set it in the node's kube-apiserver.yaml, as the first control-plane node has it"
	found := []Finding{
		have("1.2.23", p.Flags, remedy, "etcd-certfile", "etcd-keyfile"),
		have("1.2.24", p.Flags, remedy, "tls-cert-file", "tls-private-key-file"),
		have("1.2.26", p.Flags, remedy, "etcd-cafile"),
	}
	same, err := sameEncryption(ctx, v, p)
	return append(found, same...), err
}

// sameEncryption compares the encryption of Secrets with that of the first
// node: where they differ, one of them cannot read what the other has written.
// Whether there is any is the owner's to decide.
func sameEncryption(ctx context.Context, v phases.Reader, here process.Running) ([]Finding, error) {
	const flag = "encryption-provider-config"
	first, running, err := v.APIServer(ctx, v.First().Name)
	if err != nil || !running {
		return nil, err
	}
	mine, _ := here.Flags.Get(flag)
	want, _ := first.Flags.Get(flag)
	switch {
	case mine == "" && want == "":
		return []Finding{argument("1.2.27", true, "", "Secrets are not encrypted at rest on any control-plane node, as before")}, nil
	case mine != want:
		return []Finding{argument("1.2.27", false, "give every API server the same --"+flag, "the running process has --%s=%s, that of %s has %s", flag, mine, v.First().Name, want)}, nil
	}
	config, err := mounted(ctx, v, v.Target(), mine)
	if err != nil {
		return nil, err
	}
	other, err := mounted(ctx, v, v.First().Name, want)
	if err != nil {
		return nil, err
	}
	digest, err := v.Digest(ctx, v.Target(), config)
	if err != nil {
		return nil, err
	}
	there, err := v.Digest(ctx, v.First().Name, other)
	if err != nil {
		return nil, err
	}
	same := argument("1.2.28", digest != "" && digest == there, fmt.Sprintf("copy %s from %s, and restart the API server", config, v.First().Name), "%s is that of %s", config, v.First().Name)
	if !same.OK {
		same.Seen = fmt.Sprintf("CIS 1.2.28: %s is not that of %s", config, v.First().Name)
	}
	same.File = config
	return []Finding{argument("1.2.27", true, "", "the running process has --%s=%s", flag, mine), same}, nil
}

// mounted is where a node has what its API server sees at a path. What is in
// there stays on the node: it holds keys.
func mounted(ctx context.Context, v phases.Reader, node, inside string) (string, error) {
	file, err := v.APIServerManifest(ctx, node)
	if err != nil {
		return "", err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file.Path, err)
	}
	if host, ok := m.OnHost(inside); ok {
		inside = host
	}
	return inside, nil
}

// memberItems are those of an etcd host.
func memberItems(ctx context.Context, v phases.Reader) ([]Finding, error) {
	list, err := process.Find(ctx, v.On(v.Target()), "etcd")
	if err != nil || len(list) == 0 { // that one runs is asked by another check
		return nil, err
	}
	flags := list[0].Flags
	for _, p := range list { // another etcd may run in some container
		if dir, _ := p.Flags.Get("data-dir"); dir == etcdflags.DataDir {
			flags = p.Flags
		}
	}
	dir, _ := flags.Get("data-dir")
	found, err := fileItems(ctx, v, []fileItem{{item: "1.1.11", file: dir, most: 0o700}, {item: "1.1.12", file: dir, owner: "etcd:etcd"}})
	if err != nil {
		return nil, err
	}
	const remedy = "`migrate plan --phase 2` shows how the unit differs from what the migration writes"
	is := func(item, name, bad string) Finding {
		value, there := flags.Get(name)
		if !there {
			value = "false"
		}
		return argument(item, value != bad, remedy, "the running process has --%s=%s", name, value)
	}
	found = append(found,
		have("2.1", flags, remedy, "cert-file", "key-file"), is("2.2", "client-cert-auth", "false"), is("2.3", "auto-tls", "true"),
		have("2.4", flags, remedy, "peer-cert-file", "peer-key-file"), is("2.5", "peer-client-cert-auth", "false"), is("2.6", "peer-auto-tls", "true"))
	own, err := ownCA(ctx, v, flags)
	return append(found, own), err
}

// ownCA wants etcd's CA to be another one than the cluster's, whose
// certificates are in many hands.
func ownCA(ctx context.Context, v phases.Reader, flags kube.Flags) (Finding, error) {
	file, _ := flags.Get("trusted-ca-file")
	if file == "" {
		return argument("2.7", false, "set it in the unit of etcd", "the running process has no --trusted-ca-file"), nil
	}
	etcds, err := v.On(v.Target()).ReadFile(ctx, file)
	if err != nil {
		return Finding{}, err
	}
	clusters, err := v.AdminCA(ctx)
	if err != nil {
		return Finding{}, err
	}
	shared := false
	for rest := etcds.Data; ; {
		var a *pem.Block
		if a, rest = pem.Decode(rest); a == nil {
			break
		}
		for left := clusters; ; {
			var b *pem.Block
			if b, left = pem.Decode(left); b == nil {
				break
			}
			shared = shared || bytes.Equal(a.Bytes, b.Bytes)
		}
	}
	f := argument("2.7", !shared, "give etcd a CA of its own: certificates of the cluster's CA open it", "%s is a CA of its own", file)
	if shared {
		f.Seen = fmt.Sprintf("CIS 2.7: %s holds the cluster's CA", file)
	}
	f.File = file
	return f, nil
}
