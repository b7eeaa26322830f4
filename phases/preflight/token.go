package preflight

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// probed are the paths that the probes of kubeadm's manifests ask for
// (kubeadm: phases/controlplane/manifests.go).
var probed = []string{"/livez", "/readyz"}

// anonymousAuth asks what the kubelet will ask, and as nobody, like it. The
// join itself has the token's rights and needs nobody's.
func anonymousAuth(ctx context.Context, s Scene) ([]Finding, error) {
	cfg, err := s.AdminConfig(ctx)
	if err != nil {
		return nil, err
	}
	for _, path := range probed {
		status, err := kube.AskAsNobody(ctx, cfg, path)
		if err != nil {
			return nil, err
		}
		if status != http.StatusUnauthorized && status != http.StatusForbidden {
			continue
		}
		why, err := whyNobody(ctx, s)
		if err != nil {
			return nil, err
		}
		patched, err := probesPatched(ctx, s)
		if err != nil {
			return nil, err
		}
		if patched {
			return []Finding{warn("see that the patch gives all three probes a question that is answered: `tcpSocket` for one",
				"the API server answers %d to a probe for %s%s; the patches of the joining nodes change the probes", status, path, why)}, nil
		}
		return []Finding{block("", "the API server answers %d to a probe for %s%s", status, path, why)}, nil
	}
	return []Finding{fine("the API server answers the kubelet's probes, and a join needs no anonymous request")}, nil
}

// whyNobody names the flag that decides.
func whyNobody(ctx context.Context, s Scene) (string, error) {
	flags, err := apiFlags(ctx, s)
	if err != nil {
		return "", err
	}
	if file, ok := flags.Get("authentication-config"); ok {
		return fmt.Sprintf(" (--authentication-config=%s)", file), nil
	}
	if v, ok := flags.Get("anonymous-auth"); ok {
		return fmt.Sprintf(" (--anonymous-auth=%s)", v), nil
	}
	return "", nil
}

// probesPatched says whether each joining node has a patch of kubeadm's for the
// API server that is about its probes.
func probesPatched(ctx context.Context, s Scene) (bool, error) {
	dir := s.Spec().ControlPlane.Join.Patches
	if dir == "" || len(s.Spec().ControlPlane.Joining) == 0 {
		return false, nil
	}
	for _, h := range s.Spec().ControlPlane.Joining {
		out, err := s.On(h.Name).Look(ctx, remote.Command{Script: "cat " + remote.Quote(dir) + "/kube-apiserver* 2>/dev/null; :"})
		if err != nil {
			return false, fmt.Errorf("reading the patches on %s: %w", h.Name, err)
		}
		if !strings.Contains(out, "livenessProbe") || !strings.Contains(out, "startupProbe") {
			return false, nil
		}
	}
	return true, nil
}

// joinAsks lists what kubeadm join asks for with its token (kubeadm:
// cmd/join.go, phases/bootstraptoken/node/tlsbootstrap.go). Without the last
// one the kubelet's request waits for somebody to approve it.
func joinAsks() []kube.Right {
	const signing = "certificates.k8s.io"
	return []kube.Right{
		{Verb: "get", Resource: "configmaps", Namespace: "kube-system", Name: "kubeadm-config"},
		{Verb: "get", Resource: "configmaps", Namespace: "kube-system", Name: "kubelet-config"},
		{Verb: "get", Resource: "nodes"},
		{Verb: "create", Group: signing, Resource: "certificatesigningrequests"},
		{Verb: "create", Group: signing, Resource: "certificatesigningrequests", Subresource: "nodeclient"},
	}
}

// bootstrapToken asks the authorizers what a token may do.
func bootstrapToken(ctx context.Context, s Scene) ([]Finding, error) {
	flags, err := apiFlags(ctx, s)
	if err != nil {
		return nil, err
	}
	if v, _ := flags.Get("enable-bootstrap-token-auth"); v != "true" {
		return []Finding{block("set --enable-bootstrap-token-auth=true in kube-apiserver.yaml, as kubeadm has it", "the API server takes no bootstrap tokens: --enable-bootstrap-token-auth is %q", v)}, nil
	}
	k, err := s.Kube(ctx)
	if err != nil {
		return nil, err
	}
	user, groups := kube.Bootstrapper()
	var out []Finding
	for _, right := range joinAsks() {
		allowed, err := k.May(ctx, user, groups, right)
		if err != nil {
			return nil, err
		}
		if !allowed {
			out = append(out, block("", "a bootstrap token may not %s", rightText(right)))
		}
	}
	missing, err := clusterInfoReadAndMissing(ctx, s, k)
	if err != nil {
		return nil, err
	}
	out = append(out, missing...)
	if len(out) == 0 {
		out = append(out, fine("a bootstrap token may do all %d things that a join asks for", len(joinAsks())))
	}
	return out, nil
}

// clusterInfoReadAndMissing: kubeadm takes "forbidden" for a proof of the
// connection, but waits for a ConfigMap that it may read and is not there until
// its time is over (kubeadm: discovery/file/file.go).
func clusterInfoReadAndMissing(ctx context.Context, s Scene, k kube.Reader) ([]Finding, error) {
	_, err := k.ConfigMap(ctx, "kube-public", "cluster-info")
	if !apierrors.IsNotFound(err) {
		return nil, err
	}
	user, groups := kube.Bootstrapper()
	readable, err := k.May(ctx, user, groups, kube.Right{Verb: "get", Resource: "configmaps", Namespace: "kube-public", Name: "cluster-info"})
	if err != nil || !readable {
		return nil, err
	}
	return []Finding{block("make it again: `kubeadm init phase bootstrap-token --skip-token-print` on "+s.First().Name,
		"there is no ConfigMap kube-public/cluster-info, and a bootstrap token may read it: kubeadm join would wait for it until the time is over")}, nil
}

func rightText(r kube.Right) string {
	what := r.Resource
	if r.Subresource != "" {
		what += "/" + r.Subresource
	}
	if r.Name != "" {
		what += " " + r.Namespace + "/" + r.Name
	}
	return r.Verb + " " + what
}
