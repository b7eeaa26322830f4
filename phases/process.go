package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// The ports of etcd members on the etcd hosts: etcd's registered ports.
const (
	EtcdClientPort = 2379
	EtcdPeerPort   = 2380
)

// The static pod manifests of the old member and of the API server.
const (
	EtcdManifest      = kube.ManifestsDir + "/etcd.yaml"
	APIServerManifest = kube.ManifestsDir + "/kube-apiserver.yaml"
)

// Process is a running process of a host and the flags it really runs with:
// a manifest says what should run, the process table what does.
type Process struct {
	PID   int
	Exe   string // as the process's own mount namespace names it
	Flags kube.Flags
}

// processScript prints, for each process with the given name: its PID, its
// program, and one argument a line, ended by a line with only a dot. It starts
// no program for the processes of other names: a node has hundreds.
const processScript = `for d in /proc/[0-9]*; do
IFS= read -r name <"$d/comm" && [ "$name" = %s ] || continue
exe=$(readlink "$d/exe") || continue
printf '%%s\n%%s\n' "${d#/proc/}" "$exe"; tr '\0' '\n' <"$d/cmdline"; %secho .
done 2>/dev/null`

// Processes lists a host's processes by name (at most 15 characters, the
// kernel's limit for /proc/PID/comm).
func Processes(ctx context.Context, r remote.Reader, name string) ([]Process, error) {
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf(processScript, remote.Quote(name), "")})
	if err != nil {
		return nil, fmt.Errorf("listing %s processes on %s: %w", name, r.Name(), err)
	}
	list, _, err := parseProcesses(out)
	if err != nil {
		return nil, fmt.Errorf("listing %s processes on %s: %w", name, r.Name(), err)
	}
	return list, nil
}

// dyingScript prints the PIDs of processes with the given name that have given
// their memory back, by which Processes no longer lists them, and not yet their
// connections: the kernel does it in this order (kernel/exit.c, do_exit:
// exit_mm, exit_files, exit_notify). A zombie without other threads has given
// back all.
const dyingScript = `for d in /proc/[0-9]*; do
IFS= read -r name <"$d/comm" && [ "$name" = %s ] || continue
readlink "$d/exe" >/dev/null && continue
read -r _ _ state _ <"$d/stat" || continue
set -- "$d"/task/*
[ "$state" = Z ] && [ $# -lt 2 ] || echo "${d#/proc/}"
done 2>/dev/null; :`

// Dying is the error that a process of a name (15 characters at most) is about
// to be gone, and may not have closed all of its connections yet.
func Dying(ctx context.Context, r remote.Reader, name string) error {
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf(dyingScript, remote.Quote(name))})
	if err != nil {
		return fmt.Errorf("listing dying %s processes on %s: %w", name, r.Name(), err)
	}
	if pids := strings.Fields(out); len(pids) > 0 {
		return fmt.Errorf("%s on %s, process %s, is about to be gone", name, r.Name(), strings.Join(pids, ", "))
	}
	return nil
}

// environmentMark is the line between a process's arguments and those of its
// environment's variables that were asked for.
const environmentMark = ".environment"

// parseProcesses reads what processScript printed; variables has, for each
// process, the lines below environmentMark.
func parseProcesses(out string) (list []Process, variables [][]string, err error) {
	for block := range strings.SplitSeq(out, "\n.\n") {
		block, environment, _ := strings.Cut(block+"\n", "\n"+environmentMark+"\n")
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if len(lines) < 3 {
			continue
		}
		pid, err := strconv.Atoi(lines[0])
		if err != nil {
			return nil, nil, fmt.Errorf("unexpected output %q", lines[0])
		}
		list = append(list, Process{PID: pid, Exe: lines[1], Flags: kube.ParseFlags(lines[3:])})
		variables = append(variables, strings.Split(environment, "\n"))
	}
	return list, variables, nil
}

// OldEtcd is the member that kubeadm made on the first control-plane node.
type OldEtcd struct {
	Process
	ClientAddress string // where it answers clients, as seen from its host
	PeerAddress   string // where it answers members, as seen from its host
	LocalOnly     bool   // its peer listener is reachable from its host alone
}

// oldEtcdScript prints the processes named etcd with the variables that etcd
// reads, then manifestMark, and then the old member's manifest with its path
// on a line before it, from where it is or was moved to.
func oldEtcdScript() string {
	variables := "echo " + environmentMark + `; cat "$d/environ" | tr '\0' '\n' | grep '^ETCD_'; `
	return fmt.Sprintf(processScript, "etcd", variables) + fmt.Sprintf(`
echo %s
for f in %s %s; do
[ ! -e "$f" ] || { echo "$f"; cat "$f"; exit; }
done`, manifestMark, EtcdManifest, archivedManifest)
}

const (
	manifestMark     = ".manifest"
	archivedManifest = EtcdArchive + "/etcd.yaml"
)

// OldEtcd finds the old member's process, by one command: nearly every step
// asks for it. Another etcd may run on the node in some pod (a virtual
// cluster's, say), so data folder and name must be those of the static pod
// manifest, or of its archived copy.
//
// A configuration file would make etcd ignore its flags and variables, and is
// refused.
func (v View) OldEtcd(ctx context.Context) (OldEtcd, bool, error) {
	old, running, err := v.OldEtcdAsIs(ctx)
	if file, ok := old.Flags.Get("config-file"); err == nil && ok {
		return OldEtcd{}, false, fmt.Errorf("looking for etcd on %s: it is configured by --config-file=%s, which this tool does not read: give it flags instead", v.First().Name, file)
	}
	return old, running, err
}

// OldEtcdAsIs is OldEtcd, also of one that this tool cannot deal with.
func (v View) OldEtcdAsIs(ctx context.Context) (OldEtcd, bool, error) {
	first := v.On(v.First().Name)
	out, err := first.Look(ctx, remote.Command{Script: oldEtcdScript()})
	if err != nil {
		return OldEtcd{}, false, fmt.Errorf("looking for etcd on %s: %w", first.Name(), err)
	}
	old, running, err := parseOldEtcd(out)
	if err != nil {
		return OldEtcd{}, false, fmt.Errorf("looking for etcd on %s: %w", first.Name(), err)
	}
	return old, running, nil
}

// parseOldEtcd reads what oldEtcdScript printed.
func parseOldEtcd(out string) (OldEtcd, bool, error) {
	processes, found, _ := strings.Cut("\n"+out, "\n"+manifestMark+"\n")
	file, text, there := strings.Cut(found, "\n")
	if !there {
		return OldEtcd{}, false, nil
	}
	want, err := kube.ParseManifest([]byte(text))
	if err != nil {
		return OldEtcd{}, false, fmt.Errorf("%s: %w", file, err)
	}
	list, variables, err := parseProcesses(processes + "\n")
	if err != nil {
		return OldEtcd{}, false, err
	}
	for i, p := range list {
		if !sameFlag(p.Flags, want.Flags(), "data-dir") || !sameFlag(p.Flags, want.Flags(), "name") {
			continue
		}
		p.Flags = WithEtcdVariables(p.Flags, variables[i])
		old := OldEtcd{Process: p}
		old.ClientAddress, _ = ListenAddress(p.Flags, "listen-client-urls")
		old.PeerAddress, old.LocalOnly = ListenAddress(p.Flags, "listen-peer-urls")
		return old, true, nil
	}
	return OldEtcd{}, false, nil
}

// WithEtcdVariables adds what etcd is told by variables, NAME=value: it takes
// ETCD_QUOTA_BACKEND_BYTES for --quota-backend-bytes where there is no flag,
// and leaves out what is empty or no flag's name (etcd: pkg/flags,
// SetFlagsFromEnv).
func WithEtcdVariables(flags kube.Flags, variables []string) kube.Flags {
	flags = slices.Clone(flags)
	for _, line := range variables {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		name, ok := strings.CutPrefix(name, "ETCD_")
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if _, set := flags.Get(name); ok && value != "" && !set && isEtcdFlag(name) {
			flags = append(flags, kube.Flag{Name: name, Value: value})
		}
	}
	return flags
}

// OldEtcdManifest reads the old member's manifest, from the manifests folder
// or from the archive it is moved to.
func (v View) OldEtcdManifest(ctx context.Context) (kube.Manifest, error) {
	first := v.On(v.First().Name)
	file, err := first.ReadFile(ctx, EtcdManifest)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = first.ReadFile(ctx, archivedManifest)
	}
	if err != nil {
		return kube.Manifest{}, err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return kube.Manifest{}, fmt.Errorf("on %s, %s: %w", first.Name(), file.Path, err)
	}
	return m, nil
}

// EtcdDataOnHost is the folder of the node in which the old member has its data.
func EtcdDataOnHost(m kube.Manifest) (string, error) {
	inside, ok := manifestEtcdFlags(m).Get("data-dir")
	if !ok {
		return "", errors.New("the old member's manifest has no --data-dir")
	}
	dir, ok := m.OnHost(inside)
	if !ok {
		return "", fmt.Errorf("the old member's manifest mounts nothing of the node at its --data-dir=%s", inside)
	}
	return dir, nil
}

// EtcdArchive is where the old member's manifest and data go.
const EtcdArchive = StateDir + "/archive/etcd"

func sameFlag(a, b kube.Flags, name string) bool {
	x, _ := a.Get(name)
	y, _ := b.Get(name)
	return x == y
}

// ListenAddress picks host:port of a listen flag, the loopback one first: it
// is what the node itself uses. localOnly says that there is no other.
func ListenAddress(flags kube.Flags, name string) (address string, localOnly bool) {
	list, _ := flags.Get(name)
	localOnly = true
	for raw := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil || u.Host == "" {
			continue
		}
		if !IsLoopback(u.Hostname()) {
			localOnly = false
			if address == "" {
				address = u.Host
			}
			continue
		}
		address = u.Host
	}
	if host, port, err := net.SplitHostPort(address); err == nil && kube.EveryAddress(host) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return address, localOnly
}

// IsLoopback says whether a host part means the machine itself.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// APIServer finds the running API server of a control-plane node; false
// means that none runs at this moment. A second one, started for an overlap,
// listens on another port.
func (v View) APIServer(ctx context.Context, node string) (Process, bool, error) {
	address, err := v.APIAddress(ctx, node)
	if err != nil {
		return Process{}, false, err
	}
	_, want, err := net.SplitHostPort(address)
	if err != nil {
		return Process{}, false, fmt.Errorf("finding the API server on %s: %w", node, err)
	}
	list, err := Processes(ctx, v.On(node), "kube-apiserver")
	if err != nil {
		return Process{}, false, err
	}
	for _, p := range list {
		if port, ok := p.Flags.Get("secure-port"); port == want || !ok && want == "6443" {
			return p, true, nil
		}
	}
	return Process{}, false, nil
}

// EtcdFiles are the files the API server uses as a client of etcd.
type EtcdFiles struct{ CAFile, CertFile, KeyFile string }

// EtcdFiles reads their paths from the first API server's manifest.
func (v View) EtcdFiles(ctx context.Context) (EtcdFiles, error) {
	first := v.On(v.First().Name)
	file, err := readParked(ctx, first, APIServerManifest)
	if err != nil {
		return EtcdFiles{}, err
	}
	m, err := kube.ParseManifest(file.Data)
	if err != nil {
		return EtcdFiles{}, fmt.Errorf("on %s: %w", first.Name(), err)
	}
	var f EtcdFiles
	f.CAFile, _ = m.Flags().Get("etcd-cafile")
	f.CertFile, _ = m.Flags().Get("etcd-certfile")
	f.KeyFile, _ = m.Flags().Get("etcd-keyfile")
	if f.CAFile == "" || f.CertFile == "" || f.KeyFile == "" {
		return EtcdFiles{}, fmt.Errorf("on %s, kube-apiserver.yaml: --etcd-cafile, --etcd-certfile and --etcd-keyfile must all be set; this tool only handles etcd with TLS", first.Name())
	}
	return f, nil
}
