package redact

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
)

const (
	aToken = "abcdef.0123456789abcdef"
	anyKey = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
	aWord  = "Tr0ub4dor&3"
)

func aPrivateKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// TestSecretsAreHidden in each place where they have been seen to stand, and what
// stands beside them is not.
func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, secret, stays string }{
		{"kubeadm join 192.0.2.5:6443 --token " + aToken + " --discovery-token-ca-cert-hash sha256:" + anyKey, aToken, "sha256:" + anyKey},
		{"kubeadm join --token=" + aWord + " -v 5", aWord, "kubeadm join"},
		{"kubeadm join --certificate-key " + anyKey + " --control-plane", anyKey, "--control-plane"},
		{"[upload-certs] Using certificate key:\n" + anyKey + "\nand on", anyKey, "and on"},
		{"the token " + aToken + " has expired", aToken, "has expired"},
		{"https_proxy=http://ada:" + aWord + "@proxy.example:3128/ is set", aWord, "proxy.example:3128/ is set"},
		{"proxy http://ada:p@ss/word@proxy.example", "p@ss/word", "proxy.example"},
		{"ansible_become_password: " + aWord, aWord, "ansible_become_password"},
		{"host1 ansible_host=192.0.2.7 ansible_ssh_pass='" + aWord + "' ansible_user=ops", aWord, "192.0.2.7"},
		{`{"password": "` + aWord + `", "port": 22}`, aWord, `"port": 22`},
		{`{"a":"b","auth_token":"` + aWord + `","c":"d"}`, aWord, `"c":"d"`},
		{"> GET /api\n> Authorization: Bearer " + aWord + " x\n> Accept: y", aWord, "Accept: y"},
		{"sent Basic dXNlcjpwYXNz to it", "dXNlcjpwYXNz", "to it"},
		{"AWS_SECRET_ACCESS_KEY=" + aWord + " aws s3 ls", aWord, "AWS_SECRET_ACCESS_KEY"},
		{"export DB_PASSWORD=" + aWord, aWord, "export DB_PASSWORD"},
		{"extraEnvs:\n- name: HTTPS_PROXY\n  value: " + aWord + "\nextraArgs:", aWord, "HTTPS_PROXY"},
		{"- name: X\n  value: |-\n    " + aWord + "\n- name: Y", aWord, "name: Y"},
		{"- name: X\n  value: one\n    " + aWord + "\n- name: Y", aWord, "name: Y"},
		{"password: >\n  " + aWord + "\nuser: x", aWord, "user: x"},
		{"+  - value: " + aWord + "\n+    name: X", aWord, "name: X"},
		{`"extraEnvs":[{"name":"X","value":"` + aWord + `"},{"name":"Y","value":"2"}]`, aWord, `"name":"Y"`},
		{`config: "{\"env\":[{\"name\":\"X\",\"value\":\"` + aWord + `\"}]}"`, aWord, "config"},
		{"env: [{name: X, value: " + aWord + "}]", aWord, "name: X"},
		{"kind: Secret\ndata:\n  x: " + base64.StdEncoding.EncodeToString([]byte(aWord)) + "\nmetadata:\n  name: s", base64.StdEncoding.EncodeToString([]byte(aWord)), "name: s"},
		{`{"kind":"Secret","data":{"x":"c2VjcmV0"},"metadata":{"name":"s"}}`, "c2VjcmV0", `"name":"s"`},
		{"users:\n- user:\n    client-key-data: " + strings.Repeat("aB3", 30) + "\n  name: x", "aB3aB3", "name: x"},
		{"[sudo] password for ada: " + aWord, aWord, "for ada"},
		{"one line: - name: A   value: \"" + aWord + "\" - name: B", aWord, "name: B"},
		{"user:\n  token: " + aWord, aWord, "user:"},
		{"a base64 token " + base64.StdEncoding.EncodeToString([]byte(aToken)) + " here", base64.StdEncoding.EncodeToString([]byte(aToken)), "here"},
		{"a hex token " + hex.EncodeToString([]byte(aToken)) + " here", hex.EncodeToString([]byte(aToken)), "here"},
		{"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln is one", "eyJhbGciOiJSUzI1NiJ9", "is one"},
		{"pass\x1b[0mword: " + aWord, aWord, "password: "},
		{"\x1b]0;title\x07tok\x00en: " + aWord, aWord, "token: "},
	} {
		got := Text(c.text)
		if strings.Contains(got, c.secret) || !strings.Contains(got, c.stays) || !strings.Contains(got, "hidden") && !strings.Contains(got, "{}") {
			t.Errorf("%q\nbecame %q", c.text, got)
		}
		if again := Text(got); again != got {
			t.Errorf("a second time %q became %q", got, again)
		}
	}
}

// TestKeysAreHidden also when a text has only a part of one, on one line, indented,
// in a diff, or encoded once more.
func TestKeysAreHidden(t *testing.T) {
	t.Parallel()
	for range 20 { // each key is another
		key := aPrivateKey(t)
		body := strings.Split(strings.TrimSpace(key), "\n")
		quoted, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"whole":          "before\n" + key + "after\n",
			"without an end": "before\n" + strings.Join(body[:3], "\n") + "\nafter it\n",
			"its end":        "before\n" + strings.Join(body[2:], "\n") + "\nafter\n",
			"indented":       "before\n    " + strings.Join(body, "\n    ") + "\nafter\n",
			"in a diff":      "before\n+  " + strings.Join(body, "\n+  ") + "\nafter\n",
			"as JSON":        "before " + string(quoted) + " after",
			"as base64":      "before " + base64.StdEncoding.EncodeToString([]byte(key)) + " after",
			"as hex":         "before " + hex.EncodeToString([]byte(key)) + " after",
		} {
			got := Text(text)
			if !strings.Contains(got, "before") || !strings.Contains(got, "after") {
				t.Errorf("%s: too much is hidden: %q", name, got)
			}
			for _, line := range body[1 : len(body)-1] {
				if len(line) > 8 && strings.Contains(got, line[:min(len(line), 20)]) {
					t.Errorf("%s: %q is in %q", name, line, got)
				}
			}
		}
	}
}

// TestWhatIsNoSecretStays: a log in which everything is hidden helps nobody.
func TestWhatIsNoSecretStays(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"✓ [3/17] lb1 · Install nginx (2.1 s)",
		"systemctl stop etcd.service && rm -rf -- /var/lib/etcd-external/member",
		"/var/lib/migrate/backup/etc/kubernetes/manifests/kube-apiserver.yaml",
		"registry.k8s.io/kube-apiserver@sha256:" + anyKey,
		"ssh-ed25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
		"Type the cluster's name (flagship) to go on:",
		"token-ttl: 24h0m0s",
		"cp1: `kubeadm join` ended with status 1: no message",
		"2 of 3 voters answer, e1 leads; https://192.0.2.21:2379",
		"pod kube-system/kube-apiserver-cp1 f3b1c2d4-1111-2222-3333-444455556666",
	} {
		if got := Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestJSONHidesBeforeItEncodes: by name, in keys, and in texts of many lines.
func TestJSONHidesBeforeItEncodes(t *testing.T) {
	t.Parallel()
	key := aPrivateKey(t)
	data, err := JSON(map[string]any{
		"Before": map[string]string{"kubeconfig": "user:\n  client-key-data: " + base64.StdEncoding.EncodeToString([]byte(key)), "password": "pw"},
		"list":   []any{key, 12345678901234567, true},
		aToken:   "x",
	}, func(s string) string { return strings.ReplaceAll(s, "x", "y") })
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, secret := range []string{aToken, `"pw"`, strings.Split(key, "\n")[1][:20], base64.StdEncoding.EncodeToString([]byte(key))[:30]} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
	if !strings.Contains(text, "12345678901234567") || !strings.Contains(text, `"y"`) || !json.Valid(data) {
		t.Error(text)
	}
}
