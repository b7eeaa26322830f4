package audit

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases/consumers"
)

// namingScript prints the names of those files, of some, that have the first
// control-plane node's address in them. What stands around it stays there:
// kubeconfigs hold keys.
const namingScript = `for f in %s; do
[ -f "$f" ] || continue
grep -qwF %s "$f" && echo "$f"
done 2>/dev/null
:`

// errUnknownWay is why a control-plane node that no spec names is not read. What
// is not read is not known to name nobody.
var errUnknownWay = errors.New("no spec says how to reach it")

// filesNaming asks all nodes side by side; a node that is not reached, or that
// nobody says how to reach, is noted and is among those that were missed.
func (s *scene) filesNaming(ctx context.Context, patterns string) (files map[string][]string, missed []string) {
	script := fmt.Sprintf(namingScript, patterns, remote.Quote(s.address))
	files = map[string][]string{}
	readable := s.readable(ctx)
	for node := range s.nodes {
		if !slices.Contains(readable, node) {
			s.miss(node, errUnknownWay)
			missed = append(missed, node)
		}
	}
	var mu sync.Mutex
	_ = parallel.Each(readable, func(_ int, node string) error {
		text, err := s.On(node).Look(ctx, remote.Command{Script: script})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			s.miss(node, err)
			missed = append(missed, node)
			return nil
		}
		files[node] = strings.Fields(text)
		return nil
	})
	slices.Sort(missed)
	return files, missed
}

// kubeconfigs: on the first node, those of its own kubelet, controller-manager
// and scheduler name the API server beside them by kubeadm's own rule, and are
// lost with it anyway. What the migration changes is what is in
// /etc/kubernetes.
func kubeconfigs(ctx context.Context, s *scene) (Seen, error) {
	var where, remains []string
	read, missed := s.filesNaming(ctx, `/etc/kubernetes/*.conf "$HOME"/.kube/config`)
	for node, files := range read {
		for _, f := range files {
			base := path.Base(f)
			if node == s.First().Name && slices.Contains([]string{"kubelet.conf", "bootstrap-kubelet.conf", "controller-manager.conf", "scheduler.conf"}, base) {
				continue
			}
			where = append(where, node+":"+f)
			if path.Dir(f) != "/etc/kubernetes" {
				remains = append(remains, node+":"+f)
			}
		}
	}
	return listed(where, remains, missed...), nil
}

// changedMaps are the ConfigMaps that phase 1 changes.
var changedMaps = []string{"ConfigMap kube-public/cluster-info", "ConfigMap kube-system/kube-proxy", "ConfigMap kube-system/kubeadm-config"}

func configMaps(ctx context.Context, s *scene) (Seen, error) {
	values, err := consumers.NamedValues(ctx, s.Reader)
	if err != nil {
		return Seen{}, err
	}
	var where, remains []string
	for _, m := range values.ConfigMaps {
		where = append(where, m.String())
		if !slices.Contains(changedMaps, m.Object) {
			remains = append(remains, m.String())
		}
	}
	return listed(where, remains), nil
}

func secrets(ctx context.Context, s *scene) (Seen, error) {
	values, err := consumers.NamedValues(ctx, s.Reader)
	if err != nil {
		return Seen{}, err
	}
	where := mentions(values.Secrets)
	return listed(where, where), nil
}

func cniFiles(ctx context.Context, s *scene) (Seen, error) {
	var where []string
	read, missed := s.filesNaming(ctx, "/etc/cni/net.d/*")
	for node, files := range read {
		for _, f := range files {
			where = append(where, node+":"+f)
		}
	}
	return listed(where, where, missed...), nil
}

func workloadSettings(_ context.Context, s *scene) (Seen, error) {
	list, err := kube.WorkloadsNaming(s.workloads, s.address)
	if err != nil {
		return Seen{}, err
	}
	where := mentions(list)
	return listed(where, where), nil
}

// apiAddresses goes by what a setting means, names as well as addresses.
func apiAddresses(ctx context.Context, s *scene) (Seen, error) {
	list, err := consumers.APIElsewhere(ctx, s.Reader)
	if err != nil {
		return Seen{}, err
	}
	var where []string
	for _, n := range list {
		where = append(where, fmt.Sprintf("%s, %s: %s", n.Object, n.Key, n.Host))
	}
	return listed(where, where), nil
}

func mentions(list []kube.Mention) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.String())
	}
	return out
}

// listed is what is seen of places that name one machine, and missed the nodes
// on which nobody has looked.
func listed(where, remains []string, missed ...string) Seen {
	slices.Sort(where)
	slices.Sort(remains)
	unread := ""
	if len(missed) > 0 {
		unread = fmt.Sprintf(" where it was looked; not read: %s", some(missed))
	}
	switch {
	case len(where) > 0:
		return Seen{State: Single, Where: where, Remains: remains, Text: fmt.Sprintf("%d%s", len(where), unread)}
	case len(missed) > 0:
		return Seen{State: Unknown, Text: "none" + unread}
	}
	return Seen{State: Redundant, Text: "none"}
}
