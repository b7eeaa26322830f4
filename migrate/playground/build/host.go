package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// oldestGo is what the go.mod of the newest Kubernetes in Versions asks for.
const oldestGo = "go1.26.0"

// hostTools is this machine.
type hostTools struct{}

func (hostTools) ready(ctx context.Context, p plan) error {
	if _, err := (command{}).run(ctx, "mmdebstrap", "--version"); missing(err) {
		return errors.New("the command mmdebstrap is missing: install the Debian package mmdebstrap")
	} else if err != nil {
		return err
	}
	if p.given == "" {
		out, err := command{env: goEnv()}.run(ctx, "go", "env", "GOVERSION")
		if missing(err) {
			return errors.New("the command go is not on PATH, and Kubernetes is built with it: install Go " +
				strings.TrimPrefix(oldestGo, "go") + " or newer or, under sudo, add its folder to PATH")
		} else if err != nil {
			return err
		}
		if err := checkGo(strings.TrimSpace(out)); err != nil {
			return err
		}
	}
	all, err := claims(ctx, p)
	if err != nil {
		return err
	}
	return checkSpace(all)
}

// checkGo refuses a Go older than the modules ask for. A version it cannot
// read is one of Go's own developers and is let through.
func checkGo(have string) error {
	have, _, _ = strings.Cut(have, " ") // "go1.26.0 X:experiment"
	if version.IsValid(have) && version.Compare(have, oldestGo) < 0 {
		return fmt.Errorf("the go on PATH is %s, and building Kubernetes needs %s or newer: install a newer Go", have, oldestGo)
	}
	return nil
}

// goEnv keeps what the user or a module around has set from leaking in; the
// caches and the proxy stay the user's own.
func goEnv() []string {
	return []string{
		"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off", "GO111MODULE=on",
		"GOOS=linux", "GOARCH=" + runtime.GOARCH, "GOEXPERIMENT=",
	}
}

func (hostTools) compile(ctx context.Context, m module, dir string, compiled func()) error {
	src, err := os.MkdirTemp(dir, ".src-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(src)
	if err := m.write(ctx, src); err != nil {
		return err
	}
	args := append(m.buildArgs(dir), m.Packages...)
	// The linker's files go beside the result: /tmp may be small.
	build := command{dir: src, env: append(goEnv(), "GOTMPDIR="+src), line: func(text string) bool {
		if isPackage(text) {
			compiled()
			return true
		}
		return strings.HasPrefix(text, "go: downloading ")
	}}
	if _, err := build.run(ctx, "go", args...); err != nil {
		return err
	}
	for from, to := range m.Rename {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	return nil
}

// write puts the module's files into src.
func (m module) write(ctx context.Context, src string) error {
	gomod := filepath.Join(src, "go.mod")
	// Before go runs: it must not find the go.mod of a folder above.
	if err := os.WriteFile(gomod, []byte("module playground\n"), 0o644); err != nil {
		return err
	}
	staged, err := stagedGoMod(ctx, m, src)
	if err != nil {
		return err
	}
	text, err := m.goMod(staged)
	if err != nil {
		return err
	}
	if err := os.WriteFile(gomod, []byte(text), 0o644); err != nil {
		return err
	}
	for name, text := range m.Sources {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// buildArgs are the arguments of `go build`, without the packages. -v names
// each package as it is compiled, for progress; two at a time keep the peak
// of memory at 2 GB.
func (m module) buildArgs(dir string) []string {
	flags := strings.Join(append([]string{"-s", "-w"}, m.LDFlags...), " ")
	return []string{"build", "-v", "-p", "2", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", dir + "/"}
}

// stagedGoMod returns the go.mod of m.Staged, or "" if there is none.
func stagedGoMod(ctx context.Context, m module, dir string) (string, error) {
	if m.Staged == "" {
		return "", nil
	}
	for _, r := range m.Requires {
		name, v, _ := strings.Cut(r, " ")
		if name != m.Staged {
			continue
		}
		out, err := command{dir: dir, env: goEnv()}.run(ctx, "go", "mod", "download", "-json", name+"@"+v)
		if err != nil {
			return "", fmt.Errorf("fetching %s: %w", r, err)
		}
		var info struct{ GoMod string }
		if err := json.Unmarshal([]byte(out), &info); err != nil {
			return "", fmt.Errorf("reading the answer of go mod download: %w", err)
		}
		text, err := os.ReadFile(info.GoMod)
		return string(text), err
	}
	return "", nil
}

// isPackage tells a package's name, as `go build -v` prints it, from a
// message: messages have spaces, colons or a hash.
func isPackage(line string) bool {
	return !strings.ContainsAny(line, " \t:#") && path.Clean(line) == line
}

func (hostTools) packages(ctx context.Context, file string) error {
	_, err := command{}.run(ctx, "mmdebstrap", networkArgs(file, aptSources("/"))...)
	return err
}

func (hostTools) output(ctx context.Context, program string, args ...string) (string, error) {
	return command{}.run(ctx, program, args...)
}
