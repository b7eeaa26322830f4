package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"slices"

	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

// needsLoaderError is a program that was linked with the C library of the
// machine that built it, as a plain `go build` does where there is a C compiler.
type needsLoaderError struct{ file string }

func (e *needsLoaderError) Error() string {
	return fmt.Sprintf("this program, %s, needs the C library of its machine, so its copy would not start in a pod, and what pods see could not be measured; build it so that it needs none:\n  make build", e.file)
}

// standsAlone wants a program that runs wherever the kernel does. What is no
// ELF file is not judged: it is not for Linux.
func standsAlone(file string) error {
	program, err := elf.Open(file)
	var format *elf.FormatError
	if errors.As(err, &format) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading this program: %w", err)
	}
	defer program.Close()
	if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return &needsLoaderError{file}
	}
	return nil
}

// probeFits is asked before anything is changed, where copies of this program
// are to probe the API from pods.
func probeFits(c *cli.Context) error {
	if c.Float64("probe-rate") == 0 {
		return nil
	}
	file, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return standsAlone(file)
}

// tellProbeFits is for commands that only look ahead.
func tellProbeFits(c *cli.Context) {
	if file, err := os.Executable(); err == nil {
		if err := standsAlone(file); err != nil {
			show.Fprintf(c.App.ErrWriter, "migrate run will refuse: %v\n", err)
		}
	}
}
