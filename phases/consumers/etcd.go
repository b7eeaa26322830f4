// Package consumers finds who uses what the migration moves, besides Kubernetes
// itself: who connects to the old etcd member, and who names the old address of the API.
package consumers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	corev1 "k8s.io/api/core/v1"
)

// EtcdClient is somebody besides the API servers who uses the etcd of the first
// control-plane node, and is nobody's to change but its owner's.
type EtcdClient struct {
	// What names it: an object with a key, a file of the node, a connection.
	What string
	// Passing is one that is there at this moment: a connection.
	Passing bool
	// Network is the pod network's: without it new pods get no network.
	Network bool
	// Lacks lists the URLs of new members that it does not name; Ready is one
	// that names all of them.
	Lacks []string
	Ready bool
}

// EtcdUse is who uses the old etcd, as far as somebody could look.
type EtcdUse struct {
	Clients []EtcdClient
	// Unseen says what was not looked at, and why.
	Unseen []string
}

// The keys of what is remembered.
type (
	clientsKey struct{}
	valuesKey  struct{}
)

// EtcdLimit bounds the look at who uses the old etcd where others wait
// for it: nothing is done by what it says.
const EtcdLimit = 10 * time.Second

// EtcdClients looks in the cluster, in the listed folders of the first
// control-plane node, and at the connections there, for at most limit. The
// cluster may be big, a folder on a file system that hangs, a program not
// installed: that leaves the rest as it was seen. It is looked at once for all
// who ask within some minutes.
func EtcdClients(ctx context.Context, v phases.Reader, limit time.Duration) (EtcdUse, error) {
	// A login may ask for a password, and has no deadline.
	if err := v.Access().Reach(ctx, v.First().Name); err != nil {
		return EtcdUse{}, err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	use, err := phases.Remembered(limited, v, clientsKey{}, func(ctx context.Context) (EtcdUse, error) { return etcdClients(ctx, v) })
	if ctx.Err() == nil && limited.Err() != nil && err != nil { // another one's look, for longer
		return EtcdUse{Unseen: []string{fmt.Sprintf("anything: it took more than %s", limit)}}, nil
	}
	return use, err
}

func etcdClients(ctx context.Context, v phases.Reader) (EtcdUse, error) {
	first := v.First().Name
	e, own, err := etcdPlace(ctx, v)
	if err != nil {
		return EtcdUse{Unseen: []string{fmt.Sprintf("anything: %v", err)}}, nil
	}
	var values kube.Values
	var objects []kube.EtcdUser
	var files, connections []string
	var unseen [4]string
	look := func(i int, what string, do func() error) func() error {
		return func() error {
			if err := do(); err != nil {
				unseen[i] = fmt.Sprintf("%s: %v", what, err)
			}
			return nil
		}
	}
	_ = parallel.Do(
		look(0, "ConfigMaps and Secrets", func() (err error) { values, err = NamedValues(ctx, v); return err }),
		look(1, "workloads, Services and what scrapes them", func() error {
			k, err := v.Kube(ctx)
			if err != nil {
				return err
			}
			objects, err = k.EtcdUsers(ctx, e)
			return err
		}),
		look(2, "files of "+first, func() (err error) { files, err = etcdFiles(ctx, v, e); return err }),
		look(3, "connections of "+first, func() (err error) { connections, err = etcdSockets(ctx, v, e, own); return err }))
	var use EtcdUse
	for _, u := range slices.Concat(values.EtcdUsers, objects) {
		use.Clients = append(use.Clients, EtcdClient{What: u.String(), Network: u.Key == "etcd_endpoints", Lacks: u.Lacks, Ready: u.Ready})
	}
	for _, f := range files {
		use.Clients = append(use.Clients, EtcdClient{What: first + ":" + f})
	}
	for _, c := range connections {
		use.Clients = append(use.Clients, EtcdClient{What: c, Passing: true})
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return EtcdUse{}, context.Cause(ctx)
	}
	use.Unseen = slices.DeleteFunc(unseen[:], func(s string) bool { return s == "" })
	return use, nil
}

// NamedValues lists the ConfigMaps and Secrets that name the first control-plane
// node's address, and those that name its etcd, by one listing for all who ask.
func NamedValues(ctx context.Context, v phases.Reader) (kube.Values, error) {
	return phases.Remembered(ctx, v, valuesKey{}, func(ctx context.Context) (kube.Values, error) {
		k, err := v.Kube(ctx)
		if err != nil {
			return kube.Values{}, err
		}
		// Where its manifest can't be read, the default ports are the best guess.
		e, _, _ := etcdPlace(ctx, v)
		return k.Values(ctx, v.First().Address, e)
	})
}

// etcdPlace is what such users would name, with the node's own addresses.
func etcdPlace(ctx context.Context, v phases.Reader) (kube.EtcdPlace, []string, error) {
	first := v.First()
	e := kube.EtcdPlace{Hosts: []string{first.Address, first.Name}, Ports: []string{"2379", "2381"}}
	for _, h := range v.Spec().EtcdMembers() {
		e.Members = append(e.Members, kube.EtcdMember{Hosts: []string{h.Address, h.Name}, Port: fmt.Sprint(etcdflags.EtcdClientPort)})
	}
	own := []string{first.Address}
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return e, nil, err
	}
	for _, a := range nodes[first.Name].Status.Addresses {
		if !slices.Contains(e.Hosts, a.Address) {
			e.Hosts = append(e.Hosts, a.Address)
		}
		if a.Type != corev1.NodeHostName {
			own = append(own, a.Address)
		}
	}
	e.Folders = []string{"/etc/kubernetes/pki/etcd"}
	m, err := v.OldEtcdManifest(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return e, own, nil
	}
	if err != nil {
		return e, nil, err
	}
	flags := etcdflags.ManifestEtcdFlags(m)
	for _, name := range []string{"listen-client-urls", "advertise-client-urls", etcdflags.EtcdMetricsURLs, etcdflags.EtcdHTTPURLs} {
		text, _ := flags.Get(name)
		for raw := range strings.SplitSeq(text, ",") {
			if u, err := url.Parse(strings.TrimSpace(raw)); err == nil && u.Port() != "" && !slices.Contains(e.Ports, u.Port()) {
				e.Ports = append(e.Ports, u.Port())
			}
		}
	}
	if file, ok := flags.Get("cert-file"); ok && !slices.Contains(e.Folders, path.Dir(file)) {
		e.Folders = append(e.Folders, path.Dir(file))
	}
	if dir, err := phases.EtcdDataOnHost(m); err == nil {
		e.Folders = append(e.Folders, dir)
	}
	return e, own, nil
}

// etcdFolders are where people put what runs by itself: cron's tables, units
// and timers, scripts, and the settings of agents that collect metrics.
const etcdFolders = `/etc/crontab /etc/anacrontab /etc/cron.d /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly /var/spool/cron
/etc/systemd/system /run/systemd/transient /etc/default /etc/sysconfig /etc/profile.d /usr/local/bin /usr/local/sbin /usr/local/etc /opt ~root/bin
/etc/prometheus /etc/telegraf /etc/datadog-agent/conf.d /etc/zabbix`

// etcdFilesScript prints the names of those files there, and of those that cron
// and units name, in which etcd is named: of text, not above 1 MiB, two folders
// deep. Those that name all of the new members are ready for the old one's end,
// and left out. What they hold stays there.
const etcdFilesScript = `p=%s
ready() { [ %s -gt 0 ]%s; }
found=$(for d in %s; do
[ -e "$d" ] || continue
find -L "$d" -maxdepth 2 -type f -size -2049 -exec grep -lsIE -e "$p" {} +
done 2>/dev/null
for d in /etc/crontab /etc/anacrontab /etc/cron.d /var/spool/cron /etc/systemd/system /run/systemd/transient; do
[ -e "$d" ] || continue
find -L "$d" -maxdepth 2 -type f -size -2049 -exec grep -ohsIE -e '/[A-Za-z0-9._/@+-]+' {} +
done 2>/dev/null | sort -u | head -n 300 | while IFS= read -r f; do
[ -f "$f" ] && [ "$(stat -L -c %%s "$f")" -le 1048576 ] && grep -lsIE -e "$p" "$f"
done 2>/dev/null)
printf '%%s\n' "$found" | while IFS= read -r f; do
ready "$f" || printf '%%s\n' "$f"
done 2>/dev/null
:`

func etcdFiles(ctx context.Context, v phases.Reader, e kube.EtcdPlace) ([]string, error) {
	words := []string{"etcdctl", "etcdutl", "ETCDCTL_", "apiserver-etcd-client"}
	for _, dir := range e.Folders {
		words = append(words, strings.ReplaceAll(dir, ".", `\.`))
	}
	for _, port := range e.Ports {
		words = append(words, ":"+port+"([^0-9]|$)")
	}
	ready := ""
	for _, m := range e.Members {
		ready += ` && grep -qsE -e ` + remote.Quote(m.Pattern(e.Ports...)) + ` -- "$1"`
	}
	script := fmt.Sprintf(etcdFilesScript, remote.Quote(strings.Join(words, "|")), fmt.Sprint(len(e.Members)), ready, strings.ReplaceAll(etcdFolders, "\n", " "))
	out, err := v.On(v.First().Name).Look(ctx, remote.Command{Script: script})
	if err != nil {
		return nil, fmt.Errorf("looking on %s for files that name etcd: %w", v.First().Name, err)
	}
	var files []string
	for line := range strings.Lines(out) {
		f := path.Clean(strings.TrimSpace(line))
		// Links of enabled units, what this program made, and kubeadm's own.
		if f == "." || strings.Contains(f, ".wants/") || strings.Contains(f, "/migrate-") || strings.HasPrefix(f, "/etc/kubernetes/manifests/") ||
			strings.HasPrefix(f, "/etc/kubernetes/pki/") || slices.Contains(files, f) {
			continue
		}
		files = append(files, f)
	}
	slices.Sort(files)
	return files, nil
}

// ownClients are the programs of the control plane, and sshd, through which
// this program asks.
var ownClients = []string{"kube-apiserver", "etcd", "kubelet", "sshd", "sshd-session"}

// etcdSockets are those of others at this moment.
func etcdSockets(ctx context.Context, v phases.Reader, e kube.EtcdPlace, own []string) ([]string, error) {
	first := v.First().Name
	text, err := v.On(first).Look(ctx, remote.Command{Script: "ss -Htnp state established"})
	if err != nil {
		return nil, fmt.Errorf("listing the connections of %s: %w", first, err)
	}
	var out []string
	add := func(format string, args ...any) {
		if c := fmt.Sprintf(format, args...); !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 4 {
			continue
		}
		_, port, err1 := net.SplitHostPort(words[2])
		peer, peerPort, err2 := net.SplitHostPort(words[3])
		if err1 != nil || err2 != nil {
			continue
		}
		peer = strings.TrimPrefix(peer, "::ffff:")
		itself := etcdflags.IsLoopback(peer) || slices.Contains(own, peer)
		program := ""
		if len(words) > 4 {
			_, program, _ = strings.Cut(words[4], `(("`)
			program, _, _ = strings.Cut(program, `"`)
		}
		switch {
		case slices.Contains(e.Ports, port) && !itself && (program == "" || program == "etcd"):
			add("a connection from %s to port %s of %s", called(v, peer), port, first)
		case slices.Contains(e.Ports, peerPort) && itself && program != "" && !slices.Contains(ownClients, program):
			add("a connection of %s on %s to port %s", program, first, peerPort)
		}
	}
	slices.Sort(out)
	return out, nil
}

// called is an address with the name of the spec's host that has it.
func called(v phases.Reader, address string) string {
	s := v.Spec()
	for _, h := range slices.Concat(s.ControlPlane.Joining, s.Etcd.Hosts, s.LoadBalancer.Hosts, s.Workers) {
		if h.Address == address {
			return h.Name + " (" + address + ")"
		}
	}
	return address
}

// EtcdClientsInstead says what takes the place of the old member for those who
// use it, the metrics' listeners by flags of the old one.
func EtcdClientsInstead(v phases.Reader, old kube.Flags) (clients, metrics []string) {
	for _, h := range v.Spec().EtcdMembers() {
		clients = append(clients, fmt.Sprintf("https://%s", net.JoinHostPort(h.Address, fmt.Sprint(etcdflags.EtcdClientPort))))
		metrics = append(metrics, etcdflags.ReachableListeners(old, h.Address)...)
	}
	return clients, metrics
}
