package kube

import (
	"context"
	"fmt"
	"net/http"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Bootstrapper is whom the API server takes a bootstrap token of kubeadm's for
// (kubeadm: constants.NodeBootstrapTokenAuthGroup).
func Bootstrapper() (user string, groups []string) {
	return "system:bootstrap:abcdef", []string{"system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token", "system:authenticated"}
}

// Right is one thing that somebody may do or not.
type Right = authorizationv1.ResourceAttributes

// May asks the authorizers whether a user may do something. Nothing is stored.
func (r Reader) May(ctx context.Context, user string, groups []string, right Right) (bool, error) {
	answer, err := r.api.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: user, Groups: groups, ResourceAttributes: &right},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking what %s may do: %w", user, err)
	}
	return answer.Status.Allowed, nil
}

// AskAsNobody asks an API server for a path without any credentials, as the
// kubelet's probes do, and returns the status.
func AskAsNobody(ctx context.Context, cfg *rest.Config, path string) (int, error) {
	tlsConfig, err := rest.TLSConfigFor(rest.AnonymousClientConfig(cfg))
	if err != nil {
		return 0, fmt.Errorf("asking for %s as nobody: %w", path, err)
	}
	client := &http.Client{Timeout: cfg.Timeout, Transport: &http.Transport{TLSClientConfig: tlsConfig, DialContext: cfg.Dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Host+path, nil)
	if err != nil {
		return 0, fmt.Errorf("asking for %s as nobody: %w", path, err)
	}
	answer, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking for %s as nobody: %w", path, err)
	}
	answer.Body.Close()
	return answer.StatusCode, nil
}
