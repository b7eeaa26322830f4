package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// maxBody bounds what is read of an answer, in bytes.
const maxBody = 1 << 20

// target is the ConfigMap that all reads ask for. Its UID proves that the
// answer comes from this cluster's data.
type target struct {
	namespace, name string
	uid             types.UID
}

func (t target) verify(cm *corev1.ConfigMap) error {
	if cm.UID != t.uid {
		return answeredError("the answer is not the probe's ConfigMap")
	}
	return nil
}

// freshReader makes the new connection reads: GET /readyz and GET of the
// target take turns.
type freshReader struct {
	client *http.Client
	base   string
	target target
}

func (r *freshReader) read(ctx context.Context, n uint64) error {
	if n%2 == 0 {
		return r.readyz(ctx)
	}
	path := fmt.Sprintf("/api/v1/namespaces/%s/configmaps/%s", r.target.namespace, r.target.name)
	status, body, err := r.get(ctx, path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return answeredError(fmt.Sprintf("status %d", status))
	}
	cm := &corev1.ConfigMap{}
	if err := json.Unmarshal(body, cm); err != nil {
		return answeredError("the answer is no ConfigMap")
	}
	return r.target.verify(cm)
}

// readyz goes by the status: a failing /readyz also prints "ok", check by
// check.
func (r *freshReader) readyz(ctx context.Context) error {
	status, body, err := r.get(ctx, "/readyz")
	if err != nil || status == http.StatusOK {
		return err
	}
	text := fmt.Sprintf("readyz status %d", status)
	for line := range bytes.Lines(body) {
		// "[-]etcd failed: reason withheld" (k8s.io/apiserver, healthz.go)
		if check, ok := bytes.CutPrefix(line, []byte("[-]")); ok {
			check, _, _ = bytes.Cut(check, []byte(" "))
			return answeredError(short(fmt.Sprintf("%s: %s", text, check)))
		}
	}
	return answeredError(text)
}

func (r *freshReader) get(ctx context.Context, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json, */*")
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp.StatusCode, body, err
}

// keptReader makes the kept reads.
type keptReader struct {
	api    *api
	target target
}

func (r *keptReader) read(ctx context.Context, _ uint64) error {
	cm, err := r.api.get(ctx, r.target.name)
	if err != nil {
		return err
	}
	return r.target.verify(cm)
}
