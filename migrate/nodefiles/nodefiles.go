// Package nodefiles says which files of a first control-plane node a backup
// takes, and which not and why. It decides by names, sizes and checksums, before
// anything is read: what is left out never leaves its node.
package nodefiles

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// Dir is what is backed up, with the certificates folder where that is
// elsewhere.
const Dir = "/etc/kubernetes"

// MaxSize is that of the largest file that is taken. A read ends at 16 MiB, and
// a file may grow meanwhile.
const MaxSize = 8 << 20

// File is one file or symbolic link to take.
type File struct {
	Path string
	remote.Standing
}

// LeftOut is one that is not taken. Rule says that it never is, on any cluster;
// Log that the control plane writes it.
type LeftOut struct {
	Path, Why string
	Rule, Log bool
}

// Listing is what is taken, by name, and what is not.
type Listing struct {
	Files   []File
	LeftOut []LeftOut
	// must are the files without which a backup is good for nothing.
	must []string
}

// Essential says whether a file may not be left out.
func (l Listing) Essential(p string) bool {
	return slices.Contains(l.must, p) || path.Dir(p) == kube.ManifestsDir || strings.HasSuffix(p, ".conf") || strings.HasSuffix(p, ".crt") || strings.HasSuffix(p, ".key")
}

// List looks at a node. certificates is certificatesDir of kubeadm-config; ""
// where that can't be asked for: the API server's manifest tells it then.
func List(ctx context.Context, node remote.Reader, certificates string) (Listing, error) {
	l := lister{node: node, taken: map[string]remote.Standing{}}
	err := l.readManifests(ctx)
	if err != nil {
		return Listing{}, err
	}
	if certificates == "" {
		certificates = l.certificates
	}
	if err := l.walk(ctx, path.Clean(certificates)); err != nil {
		return Listing{}, err
	}
	if err := l.decide(ctx); err != nil {
		return Listing{}, err
	}
	return l.listing()
}

type lister struct {
	node         remote.Reader
	written      kube.Written
	certificates string // the folder, by the API server's manifest
	real         string // where that leads
	must         []string
	taken        map[string]remote.Standing
	out          []LeftOut
}

// readManifests reads what the control plane writes, and where its certificates
// are. A manifest that is not there or no manifest is no reason to have no
// backup: the list of the files says what is missing.
func (l *lister) readManifests(ctx context.Context) error {
	l.certificates = kube.DefaultCertificatesDir
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		f, err := l.node.ReadFile(ctx, path.Join(kube.ManifestsDir, name+".yaml"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		m, err := kube.ParseManifest(f.Data)
		if err != nil {
			continue
		}
		l.written = l.written.Join(m.Written())
		if file, ok := m.Flags().Get("service-account-signing-key-file"); ok && path.IsAbs(file) {
			l.certificates = path.Dir(file)
		}
	}
	return nil
}

// walk lists the files and links of the folder and, where that is elsewhere, of
// the certificates'. A link to a folder is taken as a link; the certificates that
// one leads to are taken where it leads, so that the archive can be unpacked:
// nothing is in it both as a link and as a folder.
func (l *lister) walk(ctx context.Context, certificates string) error {
	q := remote.Quote
	script := fmt.Sprintf(`set -e
echo "real $(readlink -f %[2]s || :)"
for d in %[1]s %[2]s "$(readlink -f %[2]s || :)"; do
[ -z "$d" ] || [ ! -d "$d" ] || find "$d/" -type f -o -type l
done`, q(Dir), q(certificates))
	text, err := l.node.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return fmt.Errorf("listing %s on %s: %w", Dir, l.node.Name(), err)
	}
	head, list, _ := strings.Cut(text, "\n")
	l.real = strings.TrimPrefix(head, "real ")
	var paths []string
	for p := range strings.SplitSeq(list, "\n") {
		if p = path.Clean(p); p != "." {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	paths = slices.DeleteFunc(slices.Compact(paths), func(p string) bool {
		if l.written.Has(p) {
			l.out = append(l.out, LeftOut{Path: p, Why: "the control plane writes it: it is a log", Log: true})
			return true
		}
		return false
	})
	if l.taken, err = remote.LookAt(ctx, l.node, paths); err != nil {
		return err
	}
	l.takeOnce(certificates)
	l.must = []string{path.Join(Dir, "admin.conf"), path.Join(kube.ManifestsDir, "kube-apiserver.yaml")}
	for _, name := range []string{"ca.crt", "sa.key"} {
		p := path.Join(certificates, name)
		if _, there := l.taken[p]; !there && l.real != "" {
			p = path.Join(l.real, name)
		}
		l.must = append(l.must, p)
	}
	return nil
}

// takeOnce takes out what is listed below a link that is taken, and what is
// listed by another name too.
func (l *lister) takeOnce(certificates string) {
	maps.DeleteFunc(l.taken, func(p string, _ remote.Standing) bool {
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			if l.taken[dir].Kind == remote.LinkPath {
				return true
			}
		}
		return false
	})
	if l.real == certificates {
		return
	}
	maps.DeleteFunc(l.taken, func(p string, _ remote.Standing) bool {
		_, twice := l.taken[path.Join(certificates, strings.TrimPrefix(p, l.real))]
		return twice && kube.Within(p, l.real)
	})
}

func (l *lister) leave(p, why string, rule bool) {
	l.out = append(l.out, LeftOut{Path: p, Why: why, Rule: rule})
	delete(l.taken, p)
}

const ofCA = "a CA's private key never leaves its node"

// decide takes out what is not to be taken.
func (l *lister) decide(ctx context.Context) error {
	keys := map[string]bool{} // checksums of CAs' keys
	for p, s := range l.taken {
		is, err := l.isCAKey(ctx, p)
		if err != nil {
			return err
		}
		if is && s.Kind == remote.FilePath && s.Size > 0 {
			keys[s.Sum] = true
		}
		switch {
		case strings.HasPrefix(p, Dir+"/tmp/"):
			l.leave(p, "kubeadm's own copies of older files", true)
		case is:
			l.leave(p, ofCA, true)
		case path.Base(p) == "super-admin.conf":
			l.leave(p, "what it may do cannot be undone; kubeadm makes a new one", true)
		case s.Kind == remote.AbsentPath:
			l.leave(p, "it was gone when it was looked at", false)
		case s.Kind == remote.FilePath && s.Size > MaxSize:
			l.leave(p, fmt.Sprintf("it has %d MB, and files over %d MB are not read", s.Size>>20, MaxSize>>20), false)
		}
	}
	for p, s := range l.taken {
		if s.Kind == remote.FilePath && keys[s.Sum] { // a copy of one, whatever its name
			l.leave(p, ofCA, true)
		}
	}
	return nil
}

// isCAKey says whether a file is the private key of a CA, by its name or by the
// certificate beside it; of a copy the certificate's copy tells.
func (l *lister) isCAKey(ctx context.Context, p string) (bool, error) {
	if kube.NamedLikeCAKey(p) {
		return true, nil
	}
	stem, after, isKey := strings.Cut(path.Base(p), ".key")
	if !isKey {
		return false, nil
	}
	for _, name := range []string{stem + ".crt", stem + ".crt" + after} {
		crt := path.Join(path.Dir(p), name)
		if l.taken[crt].Kind != remote.FilePath {
			continue
		}
		f, err := l.node.ReadFile(ctx, crt)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		if isCA(f.Data) {
			return true, nil
		}
	}
	return false, nil
}

// isCA says whether there is a CA's certificate in a PEM file.
func isCA(data []byte) bool {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return false
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.IsCA {
			return true
		}
	}
}

// listing puts it in order, and wants the essential files.
func (l *lister) listing() (Listing, error) {
	out := Listing{LeftOut: l.out, must: l.must}
	for p, s := range l.taken {
		out.Files = append(out.Files, File{p, s})
	}
	slices.SortFunc(out.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(out.LeftOut, func(a, b LeftOut) int { return strings.Compare(a.Path, b.Path) })
	for _, must := range l.must {
		if kind := l.taken[must].Kind; kind != remote.FilePath && kind != remote.LinkPath {
			return Listing{}, fmt.Errorf("there is no file %s: it is not what kubeadm makes", must)
		}
	}
	return out, nil
}
