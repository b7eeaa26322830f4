package controlplane

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// flagged lists the files that the flags of the control plane name: the policy,
// the configurations, the certificates. Whether the pod may write to their
// folder does not matter: without them it does not start.
func (f *follower) flagged() []string {
	var out []string
	for _, m := range f.manifests {
		for _, flag := range m.Flags() {
			// --tls-sni-cert-key=cert,key:name
			for _, word := range strings.FieldsFunc(flag.Value, func(r rune) bool { return r == ',' || r == ':' || r == '=' }) {
				if p, ok := f.name(m, word); ok && !slices.Contains(out, p) {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// name turns a path in a pod into one of the node that may be carried. One that
// each node has of its own is looked for there.
func (f *follower) name(m kube.Manifest, inPod string) (string, bool) {
	p, ok := m.OnHost(inPod)
	if ok && f.isAsked(p) {
		f.asked = append(f.asked, p)
	}
	return p, ok && f.carries(p)
}

// isAsked says whether a file that is named is to be on each node, and is carried
// by nobody. What the kubelet makes, or kubeadm brings, is there after the join
// only.
func (f *follower) isAsked(p string) bool {
	return isNodesOwn(p) && !slices.Contains(kubeadmOwn, p) && !f.ofKubeadm(p) && !slices.Contains(f.external, p) && !f.written.Has(p) && !kube.Within(p, "/var/lib/kubelet")
}

// askedFor lists what the first node has of the files that are named and are each
// node's own, and of the places among these that links lead to which are carried:
// a policy may be a link to one in /usr/share. A folder that a flag names is made
// by whoever writes there, a socket by whoever listens: a pod perhaps, which a
// node has when it has joined.
func (f *follower) askedFor(ctx context.Context) ([]string, error) {
	asked := slices.Clone(f.asked)
	carried := slices.Clone(f.named)
	for _, hp := range f.roots {
		carried = append(carried, hp.Path)
	}
	led := map[string]bool{}
	for _, p := range carried {
		if at := f.end(p); at != p && f.isAsked(at) {
			led[at] = true
			asked = append(asked, at)
		}
	}
	slices.Sort(asked)
	asked = slices.Compact(asked)
	is, err := leadsTo(ctx, f.first, asked)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(asked, func(p string) bool {
		return !toBeThere(is[p], led[p])
	}), nil
}

// toBeThere says of what the first node has whether the other is to have it
// before it joins; led: a link leads to it that is carried.
func toBeThere(kind remote.PathKind, led bool) bool {
	return kind == remote.FilePath || kind == remote.FolderPath && led
}

// leadsToScript says of paths, one a line, what they lead to.
const leadsToScript = `while IFS= read -r p; do
if [ -d "$p" ]; then echo folder; elif [ -f "$p" ]; then echo file; elif [ -e "$p" ]; then echo other; else echo absent; fi
done`

// leadsTo says what there is at paths of a host, links followed.
func leadsTo(ctx context.Context, r remote.Reader, paths []string) (map[string]remote.PathKind, error) {
	out := map[string]remote.PathKind{}
	if len(paths) == 0 {
		return out, nil
	}
	text, err := r.Look(ctx, remote.Command{Script: leadsToScript, Stdin: []byte(strings.Join(paths, "\n") + "\n")})
	if err != nil {
		return nil, fmt.Errorf("looking for %s on %s: %w", strings.Join(paths, ", "), r.Name(), err)
	}
	words := strings.Fields(text)
	if len(words) != len(paths) {
		return nil, fmt.Errorf("looking for %s on %s: it says %d words", strings.Join(paths, ", "), r.Name(), len(words))
	}
	for i, p := range paths {
		out[p] = remote.PathKind(words[i])
	}
	return out, nil
}
