package redact

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestFormsOfAValue: each way to write a value that YAML, TOML, JSON, a shell or a
// header have. The rest of it is hidden, too, and nothing more changes when it is
// redacted again.
func TestFormsOfAValue(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	for _, text := range []string{
		`password: 'it''s3cret'`, `password = """s3cret"""`, `password = """a"b s3cret"""`, `value: 'it''s3cret'`,
		`env: [{name: X, value: 'it''s3cret'}, {name: Y}]`,
		`Authorization: Digest username="u", response="s3cret"`, `{"Authorization":["s3cret"],"a":"b"}`,
		`{\"Authorization\":[\"s3cret\"]}`, `token: "a b s3cret"`, `token='a'"s3cret"`, `--token "a b s3cret"`, `--token=a"b s3cret" -v`,
		`{\"password\":\"s3cret\"}`, `{\\\"password\\\":\\\"a \\\\\\\"s3cret\\\"}`, `"password":"a\"s3cret"`, `"password":"a\\\"s3cret"`,
		`\"data\":{\"k\":\"s3cret\"}`, `data: {k: s3cret}`, `data: {"}": s3cret}`, `{"data":{"a":{"b":"c"},"k":"s3cret"}}`,
		"stringData:\n  k: s3cret", "stringData:\n  k: |\n    a s3cret\n", "stringData:\n  \"k\": \"a s3cret\"", "\"stringData\": {\n  \"k\": \"a s3cret\"\n}",
		"\"data\": {\n  \"k\": \"s3cret\",\n  \"j\": \"s3cret\"\n}", "data:\n  k: |\n    s3cret\n",
		`--secret-access-key s3cret`, `--secret-access-key=s3cret`, `{"auths":{"r":{"auth":"s3cret"}}}`, `{\"auths\":{\"r\":{\"auth\":\"s3cret\"}}}`,
		`etcdctl --user root:s3cret get x`, `curl -u 'root:s3cret' x`, `ETCDCTL_USER=root:s3cret`, `ETCDCTL_PASSWORD=s3cret`,
		`sshpass -p s3cret ssh x`, `sshpass -ps3cret ssh x`, `sshpass -p 'a s3cret' ssh x`, `SSHPASS=s3cret`, `auth_pass s3cret`, `PASS=s3cret`, `pass: s3cret`, `dbPass: s3cret`, `bindpw: s3cret`,
		`["--password","s3cret"]`, `[\"--password\",\"s3cret\"]`, `args: [--token, s3cret]`, "args:\n- --token\n- s3cret\n", "[\n  \"--password\",\n  \"s3cret\"\n]",
		`Cookie: a=b; c=s3cret`, `Set-Cookie: c=s3cret; Path=/`, `{"Set-Cookie":["c=s3cret"]}`, `u:s3cret@192.0.2.7`, `x u:a@s3cret@db.example`,
		`https://a.example/x?sig=s3cret`, `https://a.example/x?a=b&pwd=s3cret&c=d`,
		`glpat-s3cret`, `xoxb-s3cret`, `sk_live_s3cret`, `hvs.s3cret`, `AIzas3cret`, `AGE-SECRET-KEY-s3cret`, `ghp_s3cret`,
		`password: [hidden] secret: s3cret`, `password: "x" token: s3cret`, `token: x-password: s3cret`, `machine h login u password s3cret`,
	} {
		got := Text("before\n" + text + "\nafter")
		if strings.Contains(got, secret) || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter") {
			t.Errorf("%s\nbecame %s", text, got)
		}
		if again := Text(got); again != got {
			t.Errorf("a second time %q became %q", got, again)
		}
	}
}

// TestOnlyTheValueGoes: what stands behind a value that ends stays.
func TestOnlyTheValueGoes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"password":"a\"b","port":22}`:             `{"password":"[hidden]","port":22}`,
		`{\"password\":\"a\",\"port\":22}`:          `{\"password\":\"[hidden]\",\"port\":22}`,
		`{"Authorization":["a","b"],"Accept":"c"}`:  `{"Authorization":[hidden],"Accept":"c"}`,
		`["--password","a","--port","22"]`:          `["--password","[hidden]","--port","22"]`,
		`etcdctl --user root:a get x`:               `etcdctl --user root:[hidden] get x`,
		`https://a.example/x?sig=a&b=c`:             `https://a.example/x?sig=[hidden]&b=c`,
		`registry.k8s.io/pause:3.9@sha256:` + "0a":  `registry.k8s.io/pause:3.9@sha256:0a`,
		`pause:3.9@sha256:` + "0a":                  `pause:3.9@sha256:0a`,
		"PWD=/srv/clusters":                         "PWD=/srv/clusters",
		"--discovery-token-ca-cert-hash sha256:0a1": "--discovery-token-ca-cert-hash sha256:0a1",
		`"secret": null, "a": "b"`:                  `"secret": null, "a": "b"`,
	} {
		if got := Text(text); got != want {
			t.Errorf("%s\nbecame %s\nwanted %s", text, got, want)
		}
	}
}

// TestATextThatNestsTakesNoLongTime: neither many names in a line nor a word that
// was encoded again and again.
func TestATextThatNestsTakesNoLongTime(t *testing.T) {
	t.Parallel()
	word := "nothing of a kind"
	for len(word) < 48<<10 {
		word = base64.StdEncoding.EncodeToString([]byte(word + strings.Repeat(" ", (3-len(word)%3)%3)))
	}
	for name, text := range map[string]string{
		"names":     strings.Repeat(`password="a" `, 5000),
		"not ended": strings.Repeat(`password="a" token=a' \"token\":\"b `, 2000),
		"braces":    strings.Repeat(`data: {a: "`, 6000),
		"flags":     strings.Repeat(`--token=a" `, 6000),
		"names in":  strings.Repeat(`{"password":{`, 5000),
		"dashes":    strings.Repeat(`-`, 64<<10),
		"encoded":   word,
	} {
		began := time.Now()
		Text(text)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: %s", name, took)
		}
	}
}

// TestTreesOfSecrets are hidden where JSON is known to be JSON.
func TestTreesOfSecrets(t *testing.T) {
	t.Parallel()
	var tree any
	const text = `{"Authorization":["s3cret"],"args":["--password","s3cret","x"],"kind":"Secret","data":{"k":"s3cret"},"stringData":{"k":"s3cret"},"auths":{"r":{"auth":"s3cret"}},"last":"{\"data\":{\"k\":\"s3cret\"}}"}`
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	got, err := JSON(tree, nil)
	if err != nil || strings.Contains(string(got), "s3cret") || !strings.Contains(string(got), `"x"`) {
		t.Errorf("%s, %v", got, err)
	}
}
