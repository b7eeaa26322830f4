package build

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// givenFile identifies a ready-made binary well enough to notice that it was
// replaced.
type givenFile struct {
	Name    string
	Size    int64
	Changed int64 // nanoseconds
}

// checkGiven looks at r.BinDir: which Kubernetes version it holds, and
// whether everything needed is there and can run in an image of its own.
func checkGiven(ctx context.Context, r Request, t tools) (version string, files []givenFile, err error) {
	needed := append(kubernetesPrograms(), "etcd", "etcdctl", "etcdutl", "coredns", "pause")
	var lacking []string
	for _, program := range needed {
		file := filepath.Join(r.BinDir, program)
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			if program != "kubectl" {
				lacking = append(lacking, program)
			}
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("looking at the ready-made binaries: %w", err)
		}
		if err := checkStatic(file); err != nil {
			return "", nil, err
		}
		files = append(files, givenFile{program, info.Size(), info.ModTime().UnixNano()})
	}
	if len(lacking) > 0 {
		return "", nil, fmt.Errorf("the folder of ready-made binaries, %s, lacks %s: add them, or leave the folder out to build everything",
			r.BinDir, strings.Join(lacking, ", "))
	}
	out, err := t.output(ctx, filepath.Join(r.BinDir, "kubeadm"), "version", "-o", "short")
	if err != nil {
		return "", nil, fmt.Errorf("asking the ready-made kubeadm for its version: %w", err)
	}
	version = strings.TrimPrefix(strings.TrimSpace(out), "v")
	if r.Kubernetes != "" && r.Kubernetes != version {
		return "", nil, fmt.Errorf("Kubernetes %s is wanted, but the kubeadm in %s is of %s: name that version, or another folder",
			r.Kubernetes, r.BinDir, version)
	}
	return version, files, nil
}

// checkStatic refuses what cannot run in an image that holds nothing else: a
// program that asks for a dynamic loader, or none at all.
func checkStatic(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("reading the ready-made binary %s: %w", file, err)
	}
	defer f.Close()
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("%s is dynamically linked and would not start in an image of its own: build it with CGO_ENABLED=0", file)
	}
	return nil
}
