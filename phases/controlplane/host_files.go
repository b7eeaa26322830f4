package controlplane

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const hostFilesID = "controlplane/host-files"

// hostFiles carries along what the first node's control plane mounts from
// its host and kubeadm does not distribute: audit policies, encryption
// configurations, OIDC CAs, webhook kubeconfigs. Without them the new API
// server does not start; with another encryption key it can't read Secrets.
func hostFiles() phases.Step {
	return phases.Step{
		ID:     hostFilesID,
		Title:  "Copy the files that the API server mounts",
		Why:    "An API server without the same encryption key answers one request in three with garbage.",
		On:     migrate.JoiningControlPlanes,
		ByHand: "```\ngrep -A2 hostPath /etc/kubernetes/manifests/kube-*.yaml    # on {{.First.Name}}: what is not kubeadm's own goes to {{.Target}}, byte for byte\n```\n",
		Check:  checkHostFiles,
		Apply:  applyHostFiles,
		Verify: func(ctx context.Context, v phases.View) error {
			f, err := checkHostFiles(ctx, v)
			if err != nil {
				return err
			}
			if f.Verdict != migrate.Satisfied {
				return errors.New(f.Reason)
			}
			return nil
		},
		Undo:   undoHostFiles,
		Settle: 10 * time.Second,
	}
}

// kubeadmOwn are mounts that kubeadm makes on every control-plane node, and
// those it or the distribution fills (kubeadm: controlplane/volumes.go).
var kubeadmOwn = []string{
	"/etc/kubernetes/pki", "/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf",
	"/etc/ssl/certs", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/etc/pki", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
}

// tooWide are folders that hold what is a node's own.
var tooWide = []string{"/", "/etc", "/etc/kubernetes", "/var", "/var/lib", "/usr", "/root", "/home"}

// item is one file or folder to carry along.
type item struct {
	path   string
	folder bool // written to by the pod: only the folder itself is made
}

// mounted lists what the three manifests of the first node mount besides.
func mounted(ctx context.Context, v phases.View) ([]item, error) {
	first := v.On(v.First().Name)
	var out []item
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		f, err := first.ReadFile(ctx, path.Join(kube.ManifestsDir, name+".yaml"))
		if err != nil {
			return nil, err
		}
		m, err := kube.ParseManifest(f.Data)
		if err != nil {
			return nil, fmt.Errorf("on %s, %s: %w", first.Name(), f.Path, err)
		}
		for _, hp := range m.HostPaths() {
			if slices.Contains(kubeadmOwn, hp.Path) {
				continue
			}
			if slices.Contains(tooWide, hp.Path) {
				return nil, fmt.Errorf("on %s, %s mounts the whole of %s: this tool does not know which of its files belong to the node; mount the files or a folder of their own", first.Name(), f.Path, hp.Path)
			}
			items, err := expand(ctx, first, hp)
			if err != nil {
				return nil, err
			}
			for _, i := range items {
				if !slices.Contains(out, i) {
					out = append(out, i)
				}
			}
		}
		for _, i := range namedBelowPKI(m.Flags()) {
			if _, err := first.ReadFile(ctx, i.path); err == nil && !slices.Contains(out, i) {
				out = append(out, i)
			}
		}
	}
	return out, nil
}

// pki is a folder that kubeadm mounts as a whole; people put files of their
// own there because of that.
const pki = "/etc/kubernetes/pki/"

// kubeadmPKI are the names that kubeadm makes or uploads itself (kubeadm:
// phases/copycerts and phases/certs).
var kubeadmPKI = regexp.MustCompile(`^(ca|sa|front-proxy-ca|front-proxy-client|apiserver|apiserver-kubelet-client|apiserver-etcd-client|etcd/[a-z-]+)\.(crt|key|pub)$`)

// namedBelowPKI lists the files below kubeadm's folder that flags name and
// kubeadm does not distribute.
func namedBelowPKI(flags kube.Flags) []item {
	var out []item
	for _, f := range flags {
		// --tls-sni-cert-key=cert,key:name
		for _, word := range strings.FieldsFunc(f.Value, func(r rune) bool { return r == ',' || r == ':' }) {
			if rest, ok := strings.CutPrefix(path.Clean(word), pki); ok && !kubeadmPKI.MatchString(rest) {
				out = append(out, item{path: path.Clean(word)})
			}
		}
	}
	return out
}

// expand lists the regular files of a mounted folder; of one that the pod
// writes to (logs) only the folder matters. A file is itself.
func expand(ctx context.Context, first remote.Reader, hp kube.HostPath) ([]item, error) {
	script := "p=" + remote.Quote(hp.Path) + `; if [ -d "$p" ]; then echo folder; find "$p" -type f; else echo file; fi`
	out, err := first.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return nil, fmt.Errorf("looking at %s on %s: %w", hp.Path, first.Name(), err)
	}
	kind, list, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if kind == "file" {
		// A socket or an empty FileOrCreate is made by whoever needs it.
		if _, err := first.ReadFile(ctx, hp.Path); err != nil {
			if errors.Is(err, fs.ErrNotExist) || !hp.ReadOnly {
				return nil, nil
			}
			return nil, err
		}
		return []item{{path: hp.Path}}, nil
	}
	items := []item{{path: hp.Path, folder: true}}
	if hp.ReadOnly {
		for f := range strings.SplitSeq(list, "\n") {
			if f != "" {
				items = append(items, item{path: f})
			}
		}
	}
	return items, nil
}

// difference says how a file on the target differs, "" for not at all.
func difference(ctx context.Context, v phases.View, i item) (string, error) {
	if i.folder {
		_, err := v.On(v.Target()).List(ctx, i.path)
		if errors.Is(err, fs.ErrNotExist) {
			return i.path + missingWord, nil
		}
		return "", err
	}
	want, err := v.On(v.First().Name).ReadFile(ctx, i.path)
	if err != nil {
		return "", err
	}
	have, err := v.On(v.Target()).ReadFile(ctx, i.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return i.path + missingWord, nil
	case err != nil:
		return "", err
	case sha256.Sum256(have.Data) != sha256.Sum256(want.Data):
		return i.path + " differs from " + v.First().Name + "'s", nil
	case have.Mode != want.Mode || have.Owner != want.Owner:
		return fmt.Sprintf("%s has mode %o and owner %s", i.path, have.Mode, have.Owner), nil
	}
	return "", nil
}

func checkHostFiles(ctx context.Context, v phases.View) (migrate.Finding, error) {
	items, err := mounted(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	var faults []string
	var changes []migrate.Change
	faultOf := map[item]string{}
	for _, i := range items {
		fault, err := difference(ctx, v, i)
		if err != nil {
			return migrate.Finding{}, err
		}
		faultOf[i] = fault
		if fault != "" {
			faults = append(faults, fault)
			// Their contents may be keys: the plan shows only that they come.
			changes = append(changes, migrate.Change{Object: v.Target() + ":" + i.path, After: "(as on " + v.First().Name + ")\n"})
		}
	}
	if len(faults) == 0 {
		return phases.Done("it has all %d of them", len(items)), nil
	}
	before, err := hostFilesBefore(ctx, v, items, faultOf)
	if err != nil {
		return migrate.Finding{}, err
	}
	before["state"] = strings.Join(faults, "\n")
	f := phases.Need(before, "%s", strings.Join(faults, ", "))
	f.Changes = changes
	return f, nil
}

func applyHostFiles(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	items, err := mounted(ctx, h.View)
	if err != nil {
		return err
	}
	host := h.On(h.Target())
	for _, i := range items {
		fault, err := difference(ctx, h.View, i)
		if err != nil {
			return err
		}
		if fault == "" {
			continue
		}
		if i.folder {
			if err := makeFolder(ctx, h, i.path); err != nil {
				return err
			}
			continue
		}
		f, err := h.On(h.First().Name).ReadFile(ctx, i.path)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(fault, missingWord) {
			if err := phases.Backup(ctx, host, hostFilesID, i.path); err != nil {
				return err
			}
		}
		if err := host.WriteFile(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes it with the mode and owner it has on the first node.
func makeFolder(ctx context.Context, h phases.Hands, dir string) error {
	out, err := h.On(h.First().Name).Look(ctx, remote.Cmd("stat", "-c", "%a %u %g", dir))
	if err != nil {
		return err
	}
	var mode, uid, gid string
	if _, err := fmt.Sscan(out, &mode, &uid, &gid); err != nil {
		return fmt.Errorf("reading the mode of %s: %w", dir, err)
	}
	if _, err := h.On(h.Target()).Run(ctx, remote.Cmd("install", "-d", "-m", mode, "-o", uid, "-g", gid, dir)); err != nil {
		return fmt.Errorf("making %s on %s: %w", dir, h.Target(), err)
	}
	return nil
}

// HostFilesReport is what phase 3 will find on a joining node of the files
// that the first node's control plane mounts.
type HostFilesReport struct {
	All, Missing int
	Differs      []string // one clause each
}

// HostFiles looks at v's target.
func HostFiles(ctx context.Context, v phases.View) (HostFilesReport, error) {
	items, err := mounted(ctx, v)
	if err != nil {
		return HostFilesReport{}, err
	}
	r := HostFilesReport{All: len(items)}
	for _, i := range items {
		fault, err := difference(ctx, v, i)
		switch {
		case err != nil:
			return HostFilesReport{}, err
		case strings.HasSuffix(fault, missingWord):
			r.Missing++
		case fault != "":
			r.Differs = append(r.Differs, fault)
		}
	}
	return r, nil
}
