package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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

// TestALongPageIsAskedForInHalves: Helm's releases are Secrets of hundreds of
// kilobytes, and a hundred of them are longer than an answer may be.
func TestALongPageIsAskedForInHalves(t *testing.T) {
	t.Parallel()
	const secrets, size = 30, 2 << 20
	big := strings.Repeat("x", size)
	limits := map[int64]int{}
	api := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit, from := int64(0), 0
		fmt.Sscan(r.URL.Query().Get("limit"), &limit)   //nolint:errcheck // 0 for none
		fmt.Sscan(r.URL.Query().Get("continue"), &from) //nolint:errcheck // 0 for the first
		limits[limit]++
		list := corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}}
		for i := from; i < secrets && int64(i-from) < limit; i++ {
			list.Items = append(list.Items, corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("c", i)}, Data: map[string]string{"a": big}})
		}
		if next := from + len(list.Items); next < secrets {
			list.Continue = fmt.Sprint(next)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	}))
	seen := map[string]bool{}
	err := each(t.Context(), "ConfigMaps", metav1.ListOptions{}, api.api.CoreV1().ConfigMaps("").List, func(cm *corev1.ConfigMap) { seen[cm.Name] = true })
	if err != nil || len(seen) != secrets || limits[100] == 0 || limits[12] == 0 {
		t.Errorf("%d of %d were seen (%v), asked with limits %v", len(seen), secrets, err, limits)
	}
}
