package nodeprobe

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"
)

// NeedsLoaderError is about a program that was linked with the C library of the
// machine that built it, as a plain `go build` does where there is a C compiler.
type NeedsLoaderError struct{ file string }

func (e *NeedsLoaderError) Error() string {
	return fmt.Sprintf("this program, %s, needs the C library of its machine, so its copy would not start in a pod, and what pods see could not be measured; build it so that it needs none:\n  make build", e.file)
}

// StandsAlone wants a program, by its file, that runs wherever the kernel does:
// else its copies do not start in pods. What is no ELF file is not judged: it is
// not for Linux. The error is a *NeedsLoaderError, or one of reading the file.
func StandsAlone(file string) error {
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
		return &NeedsLoaderError{file}
	}
	return nil
}
