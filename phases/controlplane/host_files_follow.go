package controlplane

import (
	"context"
	"fmt"
	"maps"
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
	// log says that the control plane writes it: it is to be there, and what is in
	// it is each node's own.
	log bool
}

// carried is what goes to the joining nodes, the folders first, then the files,
// then the links; and what does not, though a flag names it.
type carried struct {
	items []item
	own   []kube.HostPath
	// keys are private keys of CAs, or may be: nothing but kubeadm's own, encrypted,
	// upload takes one to another node. Those in named are asked for by a flag.
	keys  privateKeys
	named []string
	// asked are files that the first node has, that a flag or a mount asks for, and
	// that every node has of its own.
	asked []string
}

// find says what is to be carried along.
func find(ctx context.Context, v phases.Reader) (carried, error) {
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
	named := f.flagged()
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
	out, err := f.sort(ctx)
	if err != nil {
		return carried{}, err
	}
	out.asked, err = f.askedFor(ctx)
	return out, err
}

// follower walks from the paths that matter along symbolic links.
type follower struct {
	source
	first remote.Reader
	seen  map[string]remote.Standing // what stands at a path and, below the second level, above it
	named []string
	asked []string // that are named and are each node's own
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
		maps.Copy(f.seen, found)
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
				if q, ok := f.name(m, word); ok && !read[q] && !slices.Contains(out, q) {
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

// logFiles lists the logs that are mounted as files, with whether they are to be
// there when the pod starts, and the folders of all logs. The kubelet makes a
// file of type FileOrCreate itself, but not the folder it is in; without a type
// the runtime makes a folder in its place.
func (f *follower) logFiles(ctx context.Context) (files, folders map[string]bool, err error) {
	files, folders = map[string]bool{}, map[string]bool{}
	for _, hp := range f.roots {
		if !f.written.Has(hp.Path) {
			continue
		}
		at := f.end(hp.Path)
		if f.seen[at].Kind == remote.FolderPath {
			folders[at] = true
			continue
		}
		folders[path.Dir(at)] = true
		files[at] = files[at] || hp.Type != "FileOrCreate"
	}
	unknown := slices.DeleteFunc(slices.Collect(maps.Keys(folders)), func(dir string) bool { return f.seen[dir].Kind != "" || dir == "/" })
	found, err := remote.LookAt(ctx, f.first, unknown)
	maps.Copy(f.seen, found)
	return files, folders, err
}

// sort makes the list of what was found.
func (f *follower) sort(ctx context.Context) (carried, error) {
	keys, err := f.caKeys(ctx)
	if err != nil {
		return carried{}, err
	}
	out := carried{own: f.own, keys: keys}
	logs, folders, err := f.logFiles(ctx)
	if err != nil {
		return carried{}, err
	}
	for p, s := range f.seen {
		isRoot := slices.ContainsFunc(f.roots, func(hp kube.HostPath) bool { return f.end(hp.Path) == p })
		wanted, isLog := logs[p]
		switch {
		case f.through(path.Dir(p)) != "": // it is carried where the link leads
		case s.Kind == remote.FilePath && isLog && !wanted:
		case s.Kind == remote.FilePath && isLog, s.Kind == remote.FolderPath && folders[p] && !isNodesOwn(p):
			out.items = append(out.items, item{path: p, Standing: s, log: true})
		case !f.carries(p) && s.Kind != remote.LinkPath, s.Kind == remote.FolderPath && !isRoot, s.Kind == remote.LinkPath && strings.Count(p, "/") < 3:
		case out.keys.has(p):
			if slices.ContainsFunc(f.named, func(n string) bool { return f.end(n) == p }) {
				out.named = append(out.named, p)
			}
		case s.Kind == remote.FilePath, s.Kind == remote.FolderPath, s.Kind == remote.LinkPath:
			out.items = append(out.items, item{path: p, Standing: s})
		}
	}
	order := []remote.PathKind{remote.FolderPath, remote.FilePath, remote.LinkPath}
	slices.SortFunc(out.items, func(a, b item) int {
		if n := slices.Index(order, a.Kind) - slices.Index(order, b.Kind); n != 0 {
			return n
		}
		return strings.Compare(a.path, b.path)
	})
	slices.Sort(out.named)
	return out, nil
}
