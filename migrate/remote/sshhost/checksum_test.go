package sshhost

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/remote"
)

// TestLargeUploadWhateverOpensslSays: a large file is put in place when it
// arrived whole and never otherwise, with every openssl that a host may have.
func TestLargeUploadWhateverOpensslSays(t *testing.T) {
	t.Parallel()
	needRoot(t)
	data := bytes.Repeat([]byte("etcd"), 1<<18) // 1 MiB: the smallest that openssl is asked for
	for name, program := range map[string]string{
		"the host's own":                  "",
		"one that fails":                  "exit 1",
		"one that says nothing":           "cat >/dev/null",
		"one that says something else":    "cat >/dev/null; echo ' (stdin)= none'",
		"one that gives a wrong checksum": "cat >/dev/null; echo " + strings.Repeat("0", 64) + " '*stdin'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin := t.TempDir()
			if program != "" {
				if err := os.WriteFile(filepath.Join(bin, "openssl"), []byte("#!/bin/sh\n"+program+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			dir := t.TempDir()
			file := filepath.Join(dir, "f")
			script, stdin := writing(remote.File{Path: file, Data: data, Mode: 0o755})
			script = "PATH=" + remote.Quote(bin) + ":$PATH\n" + script
			for cut, what := range map[int]string{len(stdin) / 2: "content", len(data): "checksum", len(stdin) - 2: "checksum's end"} {
				if err := shell(script, strings.NewReader(stdin[:cut])).Run(); err == nil {
					t.Errorf("cut in its %s: no error", what)
				}
				if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
					t.Errorf("cut in its %s: %v, %v", what, entries, err)
				}
			}
			if out, err := shell(script, strings.NewReader(stdin)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o755 {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}
