package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"hamigrate/internal/within"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestAnAnswerWithoutEndIsCut, by client-go's own reading, with many of them at
// once, and takes no memory to speak of.
func TestAnAnswerWithoutEndIsCut(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for piece := make([]byte, 64<<10); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	big := make(chan struct{}, 1)
	cfg := &rest.Config{Host: endless.URL, Timeout: 5 * time.Minute, QPS: -1}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return capped{again{next}, big} })
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const most = 128 << 20
	peak := within.HeapPeak(func() {
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if _, err := api.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); !errors.Is(err, errTooMuch) {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
	})
	t.Logf("it took %d MiB", peak>>20)
	if peak > most {
		t.Errorf("it took %d MiB of memory", peak>>20)
	}
}

// TestAWatchIsNotCut: it is read piece by piece, and may go on for days.
func TestAWatchIsNotCut(t *testing.T) {
	t.Parallel()
	body := &endlessBody{}
	c := capped{roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
	}), make(chan struct{}, 1)}
	for query, want := range map[string]error{"?watch=true": nil, "?follow=true": nil, "": errTooMuch} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://192.0.2.1/api"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, resp.Body, 2*maxAnswer); !errors.Is(err, want) {
			t.Errorf("%q: %v", query, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	// What waits for a big one to end does so no longer than it may.
	c.big <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://192.0.2.1/api", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type endlessBody struct{}

func (*endlessBody) Read(p []byte) (int, error) { return len(p), nil }
func (*endlessBody) Close() error               { return nil }
