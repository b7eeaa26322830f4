package simulator

import (
	"io"
	"net/http"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

const reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

// Forbid takes a right from bootstrap tokens: "get configmaps kubeadm-config".
func (w *World) Forbid(right string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forbidden = append(w.forbidden, right)
}

// review answers for a bootstrap token as kubeadm's roles do: everything that a
// join asks for, and not cluster-info, which is nobody's to read but anonymous
// users'. Nothing is stored.
func (a apiHandler) review(r *http.Request) runtime.Object {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return &authorizationv1.SubjectAccessReview{}
	}
	decoded, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	out, ok := decoded.(*authorizationv1.SubjectAccessReview)
	if err != nil || !ok || out.Spec.ResourceAttributes == nil {
		return &authorizationv1.SubjectAccessReview{}
	}
	right := out.Spec.ResourceAttributes
	text := right.Verb + " " + right.Resource
	if right.Name != "" {
		text += " " + right.Name
	}
	out.Status.Allowed = right.Name != "cluster-info" && !slices.Contains(a.world.forbidden, text)
	return out
}
