package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAnEndlessAnswerEnds: an API server that streams without end is given up, and
// does not fill the memory. It is not parallel, since it looks at the memory.
func TestAnEndlessAnswerEnds(t *testing.T) {
	var sent int
	api := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"kind":"ConfigMap","apiVersion":"v1","data":{"a":"`) //nolint:errcheck
		for chunk := strings.Repeat("x", 1<<20); sent < 4<<30; sent += len(chunk) {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := api.ConfigMap(t.Context(), "kube-system", "kubeadm-config")
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrTooMuch) || !strings.Contains(err.Error(), "GET /api/v1/namespaces/kube-system/configmaps/kubeadm-config") {
		t.Errorf("it ended with: %v", err)
	}
	if grown := (after.HeapSys - before.HeapSys) >> 20; grown > 128 {
		t.Errorf("it took %d MiB", grown)
	}
}

// TestABigAnswerIsRead: what fits the bound to the byte is an answer.
func TestABigAnswerIsRead(t *testing.T) {
	t.Parallel()
	body := &boundedBody{ReadCloser: io.NopCloser(io.LimitReader(endless{}, maxBody)), left: maxBody + 1}
	if n, err := io.Copy(io.Discard, body); err != nil || n != maxBody {
		t.Errorf("%d bytes were read (%v)", n, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestListsAreReadInPages: a long list is read to its end, page by page, and one
// that has none is given up.
func TestListsAreReadInPages(t *testing.T) {
	t.Parallel()
	const pages = 7
	serve := func(last int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("limit") != fmt.Sprint(pageSize) {
				t.Errorf("asked for a page of %q", r.URL.Query().Get("limit"))
			}
			page := 0
			fmt.Sscan(r.URL.Query().Get("continue"), &page) //nolint:errcheck // 0 for the first
			list := corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}}
			if last > 0 {
				list.Items = []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("w", page)}}}
			}
			if page+1 != last {
				list.Continue = fmt.Sprint(page + 1)
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(list)
		})
	}
	nodes, err := clientOf(t, serve(pages)).Nodes(t.Context())
	if err != nil || len(nodes) != pages {
		t.Errorf("%d of %d nodes were seen (%v)", len(nodes), pages, err)
	}
	count := 0
	err = each(t.Context(), "nodes", metav1.ListOptions{}, func(context.Context, metav1.ListOptions) (*corev1.NodeList, error) {
		count++
		return &corev1.NodeList{ListMeta: metav1.ListMeta{Continue: "on"}}, nil
	}, func(*corev1.Node) {})
	if !errors.Is(err, errEndless) || count > maxObjects/pageSize {
		t.Errorf("after %d pages it ended with: %v", count, err)
	}
}

// TestNamesAreChecked: a name becomes part of commands that a person is told to run.
func TestNamesAreChecked(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{"w1": true, "ip-192-0-2-7.example.com": true, "w1;reboot": false, "$(id)": false, "w1\nw2": false, "../x": false, "W1": false} {
		err := each(t.Context(), "nodes", metav1.ListOptions{}, func(context.Context, metav1.ListOptions) (*corev1.NodeList, error) {
			return &corev1.NodeList{Items: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: name}}}}, nil
		}, func(*corev1.Node) {})
		if good != (err == nil) || !good && !errors.Is(err, ErrName) {
			t.Errorf("a Node named %q: %v", name, err)
		}
	}
}
