package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/remote"
)

// kubernetesDir is what is archived.
const kubernetesDir = "/etc/kubernetes"

// saveArchive reads the files one by one and writes the archive here: what is
// left out is decided before it is read, so it never leaves its node.
func saveArchive(ctx context.Context, file string, at time.Time, node remote.Reader) (Archive, error) {
	a, err := archive(ctx, file, at, node)
	if err != nil {
		return Archive{}, fmt.Errorf("archiving %s on %s: %w", kubernetesDir, node.Name(), err)
	}
	return a, nil
}

func archive(ctx context.Context, file string, at time.Time, node remote.Reader) (Archive, error) {
	names, err := listFiles(ctx, node)
	if err != nil {
		return Archive{}, err
	}
	a := Archive{Node: node.Name(), LeftOut: []string{}}
	var taken []string
	for _, name := range names {
		why, err := leftOut(ctx, node, name, names)
		if err != nil {
			return Archive{}, err
		}
		if why != "" {
			a.LeftOut = append(a.LeftOut, name+": "+why)
			continue
		}
		taken = append(taken, name)
	}
	if err := writeArchive(ctx, file, at, node, taken); err != nil {
		return Archive{}, err
	}
	a.Files = len(taken)
	if err := checkArchive(ctx, file, node, taken); err != nil {
		return Archive{}, err
	}
	a.File, err = fileOf(file, ArchiveFile)
	return a, err
}

func listFiles(ctx context.Context, node remote.Reader) ([]string, error) {
	out, err := node.Look(ctx, remote.Cmd("find", kubernetesDir, "-type", "f"))
	if err != nil {
		return nil, err
	}
	names := strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
	slices.Sort(names)
	// A pki folder that is a link to elsewhere would leave an archive that is
	// good for nothing.
	for _, must := range []string{"/admin.conf", "/manifests/kube-apiserver.yaml", "/pki/ca.crt", "/pki/sa.key"} {
		if !slices.Contains(names, kubernetesDir+must) {
			return nil, fmt.Errorf("there is no file %s: it is not what kubeadm makes", kubernetesDir+must)
		}
	}
	return names, nil
}

// caKey matches the usual names of a CA's private key, and of the copies that
// people and editors make of it: ca.key.bak, ca.key~, ca-key.pem.old.
var caKey = regexp.MustCompile(`(?i)(^|[-_.])ca[-_.]?key([^a-z].*)?$`)

// leftOut says why a file is not taken; "" means that it is.
func leftOut(ctx context.Context, node remote.Reader, name string, all []string) (string, error) {
	base := path.Base(name)
	switch {
	case strings.HasPrefix(name, kubernetesDir+"/tmp/"):
		return "kubeadm's own copies of older files", nil
	case caKey.MatchString(base):
		return "a CA's private key never leaves its node", nil
	case base == "super-admin.conf":
		return "what it may do cannot be taken back; kubeadm makes a new one", nil
	}
	// Of any other name, and of copies of it, the certificate beside it tells.
	stem, after, isKey := strings.Cut(base, ".key")
	if !isKey {
		return "", nil
	}
	for _, crt := range []string{stem + ".crt", stem + ".crt" + after} {
		crt = path.Join(path.Dir(name), crt)
		if !slices.Contains(all, crt) {
			continue
		}
		f, err := node.ReadFile(ctx, crt)
		if err != nil {
			return "", err
		}
		if isCA(f.Data) {
			return "a CA's private key never leaves its node", nil
		}
	}
	return "", nil
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

func writeArchive(ctx context.Context, file string, at time.Time, node remote.Reader, names []string) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := gzip.NewWriter(f)
	t := tar.NewWriter(z)
	for _, name := range names {
		content, err := node.ReadFile(ctx, name)
		if err != nil {
			return err
		}
		owner, group, _ := strings.Cut(content.Owner, ":")
		err = t.WriteHeader(&tar.Header{Name: strings.TrimPrefix(name, "/"), Typeflag: tar.TypeReg, Size: int64(len(content.Data)),
			Mode: int64(content.Mode.Perm()), Uname: owner, Gname: group, ModTime: at})
		if err != nil {
			return err
		}
		if _, err := t.Write(content.Data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close(), f.Sync())
}

// checkArchive reads the archive back, whole, and wants every file to be what
// it is on the node at this moment.
func checkArchive(ctx context.Context, file string, node remote.Reader, names []string) error {
	have, err := sumsOfArchive(file)
	if err != nil {
		return fmt.Errorf("reading the archive back: %w", err)
	}
	out, err := node.Look(ctx, remote.Cmd(append([]string{"sha256sum", "--"}, names...)...))
	if err != nil {
		return err
	}
	want := map[string]string{}
	for line := range strings.Lines(out) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		want[strings.TrimPrefix(name, "/")] = sum
	}
	if maps.Equal(have, want) {
		return nil
	}
	for name, sum := range want {
		if have[name] != sum {
			return fmt.Errorf("%s is another file on the node than in the archive: it was changed meanwhile; run again", "/"+name)
		}
	}
	return fmt.Errorf("the archive holds %d files, the node %d: run again", len(have), len(want))
}

func sumsOfArchive(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, t); err != nil {
			return nil, err
		}
		sums[h.Name] = hex.EncodeToString(sum.Sum(nil))
	}
}
