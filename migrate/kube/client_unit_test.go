package kube

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"pgregory.net/rapid"
)

// detached signs as RFC 7515, appendix F says: header, no payload, signature.
func detached(id, secret, content string) string {
	enc := base64.RawURLEncoding.EncodeToString
	head := enc([]byte(`{"alg":"HS256","kid":"` + id + `"}`))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(head + "." + enc([]byte(content))))
	return head + ".." + enc(mac.Sum(nil))
}

func TestBootstrapTokenSigns(t *testing.T) {
	t.Parallel()
	token := BootstrapToken{ID: "abcdef", Secret: "0123456789abcdef"}
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.String().Draw(t, "content")
		jws := detached(token.ID, token.Secret, content)
		if !token.Signs(jws, content) {
			t.Fatal("its own signature was refused")
		}
		if token.Signs(jws, content+" ") {
			t.Fatal("another content was accepted")
		}
		if token.Signs(detached(token.ID, "0123456789abcdeg", content), content) {
			t.Fatal("another token's signature was accepted")
		}
	})
	jws := detached(token.ID, token.Secret, "x")
	for _, bad := range []string{"", "..", jws[:len(jws)-1], strings.Replace(jws, "..", ".", 1), jws + "=", strings.Replace(jws, "..", ".eA.", 1), "A" + jws} {
		if token.Signs(bad, "x") {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestReadyz(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		body   string
		want   []string // in the error; nil for ready
	}{
		"ready":                       {200, "ok", nil},
		"failing with ok in its text": {500, "[+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\nreadyz check failed\n", []string{"status 500", "[-]etcd failed: reason withheld"}},
		"the word ok alone":           {500, "ok", []string{"status 500"}},
		"nobody may ask":              {403, "forbidden", []string{"status 403", "forbidden"}},
		"no content":                  {204, "", []string{"status 204"}},
		"a proxy answers":             {502, "<h1>Bad Gateway</h1>", []string{"status 502"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer s.Close()
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
			err := Readyz(context.Background(), &rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}})
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "[+]") {
				t.Errorf("what works is in the error: %v", err)
			}
			if err := Readyz(context.Background(), &rest.Config{Host: s.URL}); err == nil {
				t.Error("a server of an unknown CA was believed")
			}
		})
	}
}
