package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/process"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// renderScript lets kubeadm write the manifests that a join would make, and
// prints them. It looks only: what kubeadm writes goes to a folder in memory
// (/run; for a user who may only look /dev/shm) that the same command removes, also when it is told to stop; one that
// a SIGKILL or a reboot left is removed by the next. `--dry-run` keeps kubeadm
// from the kubelet's folder (kubeadm: cmd/init.go, ManifestDir), and this phase
// of it makes no other file and asks nobody: neither the API nor a container
// runtime, nor, where a version is given, the internet.
//
// KUBEADM_INIT_DRYRUN_DIR is the folder itself from 1.32 on, and the parent of
// tmp/kubeadm-init-dryrunNUMBER before. The standard input holds the files, each
// below a line with its name, since they may hold secrets. The variables of a
// proxy are the joining node's: kubeadm copies those that it finds into the
// pods (util/env.go, GetProxyEnvVars).
const renderScript = `set -eu; umask 077
find /run /dev/shm -maxdepth 1 -name 'migrate-render.*' -mmin +10 -exec rm -rf {} + >/dev/null 2>&1 || true
d=$(mktemp -d /run/migrate-render.XXXXXX 2>/dev/null) || d=$(mktemp -d /dev/shm/migrate-render.XXXXXX)
trap 'rm -rf "$d"' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir "$d/patches" "$d/out"; cd "$d"
file=/dev/null
while IFS= read -r line; do
  case "$line" in
  '@'*) file="$d/${line#@}";;
  *) printf '%s\n' "${line#|}" >>"$file";;
  esac
done
unset http_proxy https_proxy ftp_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY
[ ! -e proxies ] || . ./proxies
KUBEADM_INIT_DRYRUN_DIR="$d/out" kubeadm init phase control-plane all --dry-run --config kubeadm.yaml >log 2>&1 || { cat log >&2; exit 1; }
for f in out/*.yaml out/tmp/*/*.yaml; do
  [ ! -e "$f" ] || { echo "@${f##*/}"; cat "$f"; }
done`

// scratchFile is a file for renderScript.
type scratchFile struct{ name, text string }

func scratch(files []scratchFile) []byte {
	var b bytes.Buffer
	for _, f := range files {
		b.WriteString("@" + f.name + "\n")
		for line := range strings.Lines(strings.TrimSuffix(f.text, "\n") + "\n") {
			b.WriteString("|" + line)
		}
	}
	return b.Bytes()
}

// joiningNode is what a join's result depends on besides kubeadm-config.
type joiningNode struct {
	cluster.Host
	port      string        // of its API server
	patches   []scratchFile // those for the three pods
	noPatches bool          // the folder that the spec names is not there
	proxies   string        // lines of shell
}

// lookAtJoining reads it. The patches are on the joining node, and kubeadm has
// to see them where it renders.
func lookAtJoining(ctx context.Context, v phases.Reader, node cluster.Host) (joiningNode, error) {
	j := joiningNode{Host: node}
	address, err := v.APIAddress(ctx, node.Name)
	if err != nil {
		return j, err
	}
	if _, j.port, err = net.SplitHostPort(address); err != nil {
		return j, fmt.Errorf("reading the API server's port: %w", err)
	}
	host := v.On(node.Name)
	out, err := host.Look(ctx, remote.Command{Script: `env | grep -i '^[a-z_]*_proxy=.' || true`})
	if err != nil {
		return j, fmt.Errorf("reading the proxies of %s: %w", node.Name, err)
	}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			j.proxies += "export " + name + "=" + remote.Quote(value) + "\n"
		}
	}
	dir := v.Spec().ControlPlane.Join.Patches
	if dir == "" {
		return j, nil
	}
	names, err := host.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		j.noPatches = true
		return j, nil
	}
	if err != nil {
		return j, err
	}
	for _, name := range names {
		// The one regular form that kubeadm reads (util/patches, parseFilename).
		if !slices.ContainsFunc(kube.Components(), func(c kube.Component) bool { return strings.HasPrefix(name, string(c)) }) ||
			path.Ext(name) != ".yaml" && path.Ext(name) != ".json" || strings.ContainsAny(name, "\n/") {
			continue
		}
		f, err := host.ReadFile(ctx, path.Join(dir, name))
		if err != nil {
			return j, err
		}
		j.patches = append(j.patches, scratchFile{"patches/" + name, string(f.Data)})
	}
	return j, nil
}

// render are the manifests that a join of a node would make from a
// ClusterConfiguration, made by kubeadm on the first control-plane node.
func render(ctx context.Context, v phases.Reader, cc kube.ClusterConfiguration, j joiningNode) (map[kube.Component]kube.Manifest, error) {
	if version := cc.KubernetesVersion(); !strings.HasPrefix(version, "v1.") {
		k, err := v.Kube(ctx)
		if err != nil {
			return nil, err
		}
		if version, err = k.Version(); err != nil {
			return nil, err
		}
		cc = cc.Clone()
		cc.SetKubernetesVersion(version)
	}
	socket, err := kubeadm.CRISocket(ctx, v.On(v.First().Name))
	if err != nil {
		return nil, err
	}
	var doc strings.Builder
	fmt.Fprintf(&doc, "apiVersion: %s\nkind: InitConfiguration\n", cc.APIVersion())
	fmt.Fprintf(&doc, "localAPIEndpoint: {advertiseAddress: %q, bindPort: %s}\nnodeRegistration: {name: %q, criSocket: %q}\n", j.Address, j.port, j.Name, socket)
	if v.Spec().ControlPlane.Join.Patches != "" {
		doc.WriteString("patches: {directory: patches}\n")
	}
	doc.WriteString("---\n" + cc.String())
	files := append([]scratchFile{{"kubeadm.yaml", doc.String()}}, j.patches...)
	if j.proxies != "" {
		files = append(files, scratchFile{"proxies", j.proxies})
	}
	out, err := v.On(v.First().Name).Look(ctx, remote.Command{Script: renderScript, Stdin: scratch(files), Waits: true})
	if err != nil {
		return nil, fmt.Errorf("asking kubeadm on %s for the manifests of %s: %w", v.First().Name, j.Name, err)
	}
	made := map[kube.Component]kube.Manifest{}
	for block := range strings.SplitSeq("\n"+out, "\n@") {
		name, text, _ := strings.Cut(block, "\n")
		c := kube.Component(strings.TrimSuffix(name, ".yaml"))
		if !slices.Contains(kube.Components(), c) {
			continue
		}
		m, err := kube.ParseManifest([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("what kubeadm made for %s: %w", j.Name, err)
		}
		made[c] = m
	}
	for _, c := range kube.Components() {
		if _, ok := made[c]; !ok {
			return nil, fmt.Errorf("kubeadm on %s wrote no manifest of %s", v.First().Name, c)
		}
	}
	return made, nil
}

// running is a component as its manifest has it, and as its process runs.
type running struct {
	manifest kube.Manifest
	flags    kube.Flags // of the process; nil where none runs
}

// componentsOn reads all three of a control-plane node.
func componentsOn(ctx context.Context, v phases.Reader, node string) (map[kube.Component]running, error) {
	list := kube.Components()
	found := make([]running, len(list))
	err := parallel.Each(list, func(i int, c kube.Component) error {
		f, err := v.On(node).ReadFile(ctx, c.ManifestPath())
		if err != nil {
			return err
		}
		if found[i].manifest, err = kube.ParseManifest(f.Data); err != nil {
			return fmt.Errorf("on %s, %s: %w", node, f.Path, err)
		}
		found[i].flags, err = processFlags(ctx, v, node, c, found[i].manifest)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := map[kube.Component]running{}
	for i, c := range list {
		out[c] = found[i]
	}
	return out, nil
}

// processFlags are those of a component's process. Others of that name may run
// in some pod, a virtual cluster's, say: the one is taken that has the flags of
// the manifest, or else the most of them.
func processFlags(ctx context.Context, v phases.Reader, node string, c kube.Component, m kube.Manifest) (kube.Flags, error) {
	if c == kube.APIServer { // a second one may run beside it
		p, _, err := v.APIServer(ctx, node)
		return p.Flags, err
	}
	list, err := process.Find(ctx, v.On(node), c.ProcessName())
	if err != nil {
		return nil, err
	}
	var best kube.Flags
	most := -1
	for _, p := range list {
		n := 0
		for _, f := range m.Flags() {
			if slices.Contains(p.Flags, f) {
				n++
			}
		}
		if n > most {
			best, most = p.Flags, n
		}
	}
	return best, nil
}
