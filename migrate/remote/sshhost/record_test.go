package sshhost

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hamigrate/migrate/remote"
)

// recordings is a Recorder of a test.
type recordings struct {
	mu  sync.Mutex
	all []Ran
}

func (r *recordings) Ran(one Ran) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

// of returns the commands whose label or script begins so.
func (r *recordings) of(beginning string) []Ran {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Ran
	for _, one := range r.all {
		if strings.HasPrefix(one.Label, beginning) || one.Label == "" && strings.HasPrefix(one.Script, beginning) {
			out = append(out, one)
		}
	}
	return out
}

// TestEachCommandIsRecorded: once each, with digests of what went in and came
// out and nothing else of it; a detached one as one command, too.
func TestEachCommandIsRecorded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var got recordings
	o := s.options()
	o.Recorder = &got
	h := s.dialWith(s.host(), o)
	detachHere(s, h)
	run := func(c remote.Command) { h.Run(t.Context(), c) } //nolint:errcheck // how they end is what is recorded
	run(remote.Command{Script: "cat; echo because >&2; exit 4", Stdin: []byte("s3cret")})
	run(remote.Command{Script: "printf detached; cat >/dev/null", Stdin: []byte("s3cret"), Detach: "kubeadm-join"})
	if err := h.WriteFile(t.Context(), remote.File{Path: filepath.Join(s.home, "f"), Data: []byte("s3cret")}); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	h.Look(ended, remote.Command{Script: "echo never"}) //nolint:errcheck // see above

	six := digestOf([]byte("s3cret"))
	if six.SHA256 != "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0" {
		t.Errorf("the digest is %s", six.SHA256)
	}
	for _, c := range []struct {
		beginning string
		want      func(Ran) bool
	}{
		{"cat; echo", func(r Ran) bool {
			return r.Host == "cp1" && r.Status == 4 && r.Err == nil && r.Stderr == "because\n" && r.Stdin == six && r.Stdout == six && r.Took > 0
		}},
		{"kubeadm-join", func(r Ran) bool {
			return r.Detached && r.Status == 0 && r.Stdin == six && r.Stdout == digestOf([]byte("detached"))
		}},
		{"start detached kubeadm-join", func(r Ran) bool { return !r.Detached && r.Stdin == six }},
		{"write ", func(r Ran) bool { return r.Stdin.Bytes > six.Bytes && r.Status == 0 }},
		{"echo never", func(r Ran) bool { return r.Err != nil && r.Stdout == Digest{} }},
	} {
		if found := got.of(c.beginning); len(found) != 1 || !c.want(found[0]) {
			t.Errorf("%s: %+v", c.beginning, found)
		}
	}
	for _, r := range got.all {
		if text := fmt.Sprintf("%+v", r); strings.Contains(text, "s3cret") {
			t.Errorf("what a command was given is in its record: %s", text)
		}
	}
}

// TestSudosPasswordIsNotInTheDigest: a digest of one could be guessed from.
func TestSudosPasswordIsNotInTheDigest(t *testing.T) {
	t.Parallel()
	var got recordings
	h := &Host{target: target{name: "cp1"}, shared: &shared{options: Options{Recorder: &got}}}
	c, record := h.recorded(call{script: "cat", stdin: strings.NewReader("input")})
	line, stdin, err := (&conn{password: "hunter2"}).line(target{}, c)
	if err != nil || strings.Contains(line, "hunter2") {
		t.Fatalf("%s, %v", line, err)
	}
	var fed strings.Builder
	if _, err := io.Copy(&fed, stdin); err != nil {
		t.Fatal(err)
	}
	record(nil)
	if !strings.HasPrefix(fed.String(), "hunter2\n") || len(got.all) != 1 || got.all[0].Stdin != digestOf([]byte("input")) {
		t.Errorf("fed %q, recorded %+v", fed.String(), got.all)
	}
}
