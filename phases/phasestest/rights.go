package phasestest

import (
	"encoding/json"
	"net/http"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
	out := &authorizationv1.SubjectAccessReview{}
	if err := json.NewDecoder(r.Body).Decode(out); err != nil || out.Spec.ResourceAttributes == nil {
		return out
	}
	right := out.Spec.ResourceAttributes
	text := right.Verb + " " + right.Resource
	if right.Name != "" {
		text += " " + right.Name
	}
	out.Status.Allowed = right.Name != "cluster-info" && !slices.Contains(a.world.forbidden, text)
	return out
}
