package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// leaveEndpoint makes sure that nobody we know of follows the load balancer any
// more, before it stops to answer. Workers that joined since have no record of
// their own: they are moved here, like the others. Those who named the endpoint
// before this phase go on naming it, and its name gets its old meaning back.
// Whoever else is found is named, and nothing is changed.
func leaveEndpoint(ctx context.Context, h phases.Writer, before migrate.Before) error {
	old, err := oldName(ctx, h.Reader, before)
	if err != nil {
		return err
	}
	since := func(named []string) []string {
		return slices.DeleteFunc(slices.Clone(named), func(what string) bool { return slices.Contains(old.Named, what) })
	}
	named, err := namesEndpoint(ctx, h.Reader)
	if err != nil {
		return err
	}
	if err := errors.Join(stillNamed(ctx, h.Reader, since(named)), unknownClients(ctx, h.Reader)); err != nil {
		return err
	}
	workers, err := h.Workers(ctx)
	if err != nil {
		return err
	}
	for _, w := range workers {
		on, err := filesNaming(ctx, h.Reader, w.Name, kubeletKubeconfigs)
		if err != nil {
			return err
		}
		named = append(named, on...)
		if len(since(on)) == 0 {
			continue
		}
		was := migrate.Before{}
		old.into(was)
		if err := undoKubelet(ctx, h.Access().Writer(w.Name), was); err != nil {
			return err
		}
	}
	if len(since(named)) < len(named) {
		return nameBack(ctx, h, before)
	}
	return nil
}

// firstKubeconfigs are all that kubeadm makes on the first control-plane node.
// Some are not ours to change, and hold the endpoint on clusters made by an
// older kubeadm.
func firstKubeconfigs() []string {
	return append(slices.Clone(adminKubeconfigs), "/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf", "/etc/kubernetes/kubelet.conf")
}

// namesEndpoint lists the files on the first node and the objects that lead
// clients to the endpoint.
func namesEndpoint(ctx context.Context, v phases.Reader) ([]string, error) {
	named, err := filesNaming(ctx, v, v.First().Name, firstKubeconfigs())
	if err != nil {
		return nil, err
	}
	server, _, _, err := clusterInfoServer(ctx, v)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if err == nil && server == v.EndpointURL() {
		named = append(named, "ConfigMap kube-public/cluster-info")
	}
	proxies, err := readProxySetup(ctx, v)
	if err != nil {
		return nil, err
	}
	if proxies.there && proxies.server == v.EndpointURL() {
		named = append(named, "ConfigMap kube-system/kube-proxy")
	}
	return named, nil
}

// stillNamed is the error that these still lead clients to the endpoint.
func stillNamed(ctx context.Context, v phases.Reader, named []string) error {
	if len(named) == 0 {
		return nil
	}
	address, err := v.APIAddress(ctx, v.First().Name)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s still passes the API through, since the endpoint is still named by %s: let it name https://%s and run `migrate rollback --phase 1` again",
		v.Target(), strings.Join(named, ", "), address)
}

// filesNaming lists those kubeconfigs of a host that name the endpoint.
func filesNaming(ctx context.Context, v phases.Reader, host string, files []string) ([]string, error) {
	is := make([]bool, len(files))
	err := parallel.Each(files, func(i int, file string) error {
		server, err := hostfiles.KubeconfigServer(ctx, v.On(host), file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		is[i] = server == v.EndpointURL()
		return err
	})
	var named []string
	for i, file := range files {
		if is[i] {
			named = append(named, host+":"+file)
		}
	}
	return named, err
}

// unknownClients is the error that a node which is no target of ours, so that its
// files are not seen, has a connection to the API through the load balancer.
func unknownClients(ctx context.Context, v phases.Reader) error {
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return err
	}
	workers, err := v.Workers(ctx)
	if err != nil {
		return err
	}
	delete(nodes, v.First().Name)
	for _, w := range workers {
		delete(nodes, w.Name)
	}
	if len(nodes) == 0 {
		return nil
	}
	script := fmt.Sprintf("ss -Htn state established '( sport = :%d )' | awk '{print $4}'", v.Spec().Endpoint.Port)
	out, err := v.On(v.Target()).Look(ctx, remote.Command{Script: script})
	if err != nil {
		return fmt.Errorf("looking for who is connected to the API through %s: %w", v.Target(), err)
	}
	from := map[string]bool{}
	for peer := range strings.FieldsSeq(out) {
		if host, _, err := net.SplitHostPort(peer); err == nil {
			from[strings.TrimPrefix(host, "::ffff:")] = true
		}
	}
	var found []string
	for name, n := range nodes {
		if from[kube.InternalIP(n)] {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found)
	return fmt.Errorf("%s still passes the API through: %s, in no list of the spec, is connected to it; name it in spec.workers or point its kubelet to the old address, and run `migrate rollback --phase 1` again",
		v.Target(), strings.Join(found, ", "))
}
