package controlplane

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	"sigs.k8s.io/yaml"
)

// item is one file, folder or symbolic link to carry along, as it stands on the
// first node.
type item struct {
	path string
	remote.Standing
}

// carried is what goes to the joining nodes, the folders first, then the files,
// then the links; and what does not, though a flag names it.
type carried struct {
	items []item
	own   []kube.HostPath
	// keys are private keys of CAs: nothing but kubeadm's own, encrypted, upload
	// takes one to another node. Those in named are asked for by a flag.
	keys, named []string
}

// find says what is to be carried along.
func find(ctx context.Context, v phases.View) (carried, error) {
	first := v.On(v.First().Name)
	s, err := readSource(ctx, v)
	if err != nil {
		return carried{}, err
	}
	paths, err := s.readOnlyList(ctx, first)
	if err != nil {
		return carried{}, err
	}
	for _, hp := range s.roots {
		paths = append(paths, hp.Path)
	}
	f := &follower{source: s, first: first, seen: map[string]remote.Standing{}}
	named := s.named()
	if err := f.follow(ctx, append(paths, named...)); err != nil {
		return carried{}, err
	}
	// The files that flags name may name others, and these more.
	for read := map[string]bool{}; len(named) > 0; {
		more, err := f.readNamed(ctx, named, read)
		if err != nil {
			return carried{}, err
		}
		if err := f.follow(ctx, more); err != nil {
			return carried{}, err
		}
		f.named = append(f.named, named...)
		named = more
	}
	return f.sort(ctx)
}

// follower walks from the paths that matter along symbolic links.
type follower struct {
	source
	first remote.Reader
	seen  map[string]remote.Standing // what stands at a path and, below the second level, above it
	named []string
}

// maxLinks bounds a walk; the kernel gives up at 40.
const maxLinks = 40

// follow looks at the paths and, where a link is met, at where it leads. A link
// in the first two levels, /var/run or /etc/kubernetes, is the machine's layout
// and no thing to carry.
func (f *follower) follow(ctx context.Context, paths []string) error {
	for round := 0; len(paths) > 0; round++ {
		if round > maxLinks {
			return fmt.Errorf("on %s, symbolic links lead on and on from %s", f.first.Name(), paths[0])
		}
		var look []string
		for _, p := range paths {
			for _, q := range levels(p) {
				if _, known := f.seen[q]; !known && !slices.Contains(look, q) {
					look = append(look, q)
				}
			}
		}
		found, err := remote.LookAt(ctx, f.first, look)
		if err != nil {
			return err
		}
		for p, s := range found {
			f.seen[p] = s
		}
		var on []string
		for _, p := range paths {
			if to := f.through(p); to != "" && f.carries(to) && !slices.Contains(on, to) {
				on = append(on, to)
			}
		}
		paths = on
	}
	return nil
}

// levels lists a path and the folders above it, below the second level.
func levels(p string) []string {
	var out []string
	for ; strings.Count(p, "/") > 2 || len(out) == 0 && p != "/"; p = path.Dir(p) {
		out = append(out, p)
	}
	slices.Reverse(out)
	return out
}

// through is where a path leads by its first link, "" where there is none.
func (f *follower) through(p string) string {
	for _, q := range levels(p) {
		s := f.seen[q]
		if s.Kind != remote.LinkPath || strings.Count(q, "/") < 3 {
			continue
		}
		to := s.Link
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(q), to)
		}
		return path.Join(to, strings.TrimPrefix(p, q))
	}
	return ""
}

// end is where a path leads in the end.
func (f *follower) end(p string) string {
	for range maxLinks {
		to := f.through(p)
		if to == "" {
			return p
		}
		p = to
	}
	return p
}

// maxNaming is the size of the largest file that is read for the names of
// others; kubeconfigs and configurations are small.
const maxNaming = 1 << 20

// readNamed reads the files that were named and lists those that they name:
// a webhook's kubeconfig has certificates beside it, an admission configuration
// names a kubeconfig.
func (f *follower) readNamed(ctx context.Context, named []string, read map[string]bool) ([]string, error) {
	var out []string
	for _, p := range named {
		at := f.end(p)
		s := f.seen[at]
		if read[p] || s.Kind != remote.FilePath || s.Size > maxNaming || s.Key || !f.carries(at) {
			continue
		}
		read[p] = true
		file, err := f.first.ReadFile(ctx, at)
		if err != nil {
			return nil, err
		}
		var content any
		if yaml.Unmarshal(file.Data, &content) != nil {
			continue // a certificate, a list of tokens
		}
		for _, word := range pathsIn(content, "") {
			for _, m := range f.manifests {
				dir, ok := inPod(m, path.Dir(p))
				if !path.IsAbs(word) && ok {
					word = path.Join(dir, word)
				}
				if q, ok := f.onNode(m, word); ok && !read[q] && !slices.Contains(out, q) {
					out = append(out, q)
				}
			}
		}
	}
	return out, nil
}

// inPod is the folder of a node as the pod names it.
func inPod(m kube.Manifest, dir string) (string, bool) {
	for _, hp := range m.HostPaths() {
		if hp.MountPath != "" && kube.Within(dir, hp.Path) {
			return path.Join(hp.MountPath, strings.TrimPrefix(dir, hp.Path)), true
		}
		if hp.MountPath != "" && path.Dir(hp.Path) == dir { // the file itself is mounted
			return path.Dir(hp.MountPath), true
		}
	}
	return "", false
}

// pathKeys are the fields of configurations whose value may be a path that is
// relative to the file (client-go: clientcmd/api; apiserver: admission,
// egressselector, authorization).
var pathKeys = []string{"path", "certificate-authority", "client-certificate", "client-key", "tokenfile", "kubeconfigfile", "cabundle", "clientcert", "clientkey"}

// pathsIn lists the values that may be paths: absolute ones of any field, and
// relative ones where the field is known to hold a path.
func pathsIn(content any, key string) []string {
	var out []string
	switch c := content.(type) {
	case map[string]any:
		for k, inner := range c {
			out = append(out, pathsIn(inner, k)...)
		}
	case []any:
		for _, inner := range c {
			out = append(out, pathsIn(inner, key)...)
		}
	case string:
		if path.IsAbs(c) || c != "" && len(c) < 256 && slices.Contains(pathKeys, strings.ToLower(key)) {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return out
}

// sort makes the list of what was found.
func (f *follower) sort(ctx context.Context) (carried, error) {
	out := carried{own: f.own}
	keys, err := f.caKeys(ctx)
	if err != nil {
		return carried{}, err
	}
	for p, s := range f.seen {
		isRoot := slices.ContainsFunc(f.roots, func(hp kube.HostPath) bool { return f.end(hp.Path) == p })
		switch {
		case f.through(path.Dir(p)) != "": // it is carried where the link leads
		case !f.carries(p) && s.Kind != remote.LinkPath, s.Kind == remote.FolderPath && !isRoot, s.Kind == remote.LinkPath && strings.Count(p, "/") < 3:
		case slices.Contains(keys, p):
			out.keys = append(out.keys, p)
			if slices.ContainsFunc(f.named, func(n string) bool { return f.end(n) == p }) {
				out.named = append(out.named, p)
			}
		case s.Kind == remote.FilePath, s.Kind == remote.FolderPath, s.Kind == remote.LinkPath:
			out.items = append(out.items, item{p, s})
		}
	}
	order := []remote.PathKind{remote.FolderPath, remote.FilePath, remote.LinkPath}
	slices.SortFunc(out.items, func(a, b item) int {
		if n := slices.Index(order, a.Kind) - slices.Index(order, b.Kind); n != 0 {
			return n
		}
		return strings.Compare(a.path, b.path)
	})
	slices.Sort(out.keys)
	slices.Sort(out.named)
	return out, nil
}

// caKeys lists the found files that are a CA's private key: by name, or because
// a CA's certificate of the cluster or among the files has the same public key.
// The keys are looked at in memory here and go nowhere.
func (f *follower) caKeys(ctx context.Context) ([]string, error) {
	var out, certificates []string
	private := map[string]crypto.PublicKey{}
	for p, s := range f.seen {
		switch {
		case s.Kind != remote.FilePath || !f.carries(p):
		case kube.NamedLikeCAKey(p):
			out = append(out, p)
		case s.Key:
			file, err := f.first.ReadFile(ctx, p)
			if err != nil {
				return nil, err
			}
			private[p] = publicOf(file.Data)
			certificates = append(certificates, p, strings.TrimSuffix(p, ".key")+".crt", strings.TrimSuffix(p, ".key")+".pem")
		case strings.HasSuffix(p, ".crt") || strings.HasSuffix(p, ".pem"):
			certificates = append(certificates, p)
		}
	}
	if len(private) == 0 {
		return out, nil
	}
	for _, ca := range []string{"ca.crt", "etcd/ca.crt", "front-proxy-ca.crt"} {
		certificates = append(certificates, path.Join(f.pki[0], ca))
	}
	var authorities []*x509.Certificate
	for _, p := range certificates {
		file, err := f.first.ReadFile(ctx, p)
		if err != nil {
			continue // there is none of that name
		}
		authorities = append(authorities, authoritiesIn(file.Data)...)
	}
	for p, public := range private {
		if public == nil { // encrypted, or in a form of its own: it can't be compared
			continue
		}
		if slices.ContainsFunc(authorities, func(c *x509.Certificate) bool { return sameKey(c.PublicKey, public) }) {
			out = append(out, p)
		}
	}
	return out, nil
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// publicOf is the public key of the first private key in a PEM file.
func publicOf(data []byte) crypto.PublicKey {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil
		}
		for _, parse := range []func([]byte) (any, error){
			x509.ParsePKCS8PrivateKey,
			func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
			func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
		} {
			key, err := parse(block.Bytes)
			if signer, ok := key.(crypto.Signer); ok && err == nil {
				return signer.Public()
			}
		}
	}
}

// authoritiesIn lists the CA certificates in a PEM file.
func authoritiesIn(data []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.IsCA {
			out = append(out, c)
		}
	}
}
