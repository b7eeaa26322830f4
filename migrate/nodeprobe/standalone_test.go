package nodeprobe

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// linkedProgram writes the smallest ELF file with one program header.
func linkedProgram(t *testing.T, kind elf.ProgType) string {
	t.Helper()
	var b bytes.Buffer
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	for _, part := range []any{header, elf.Prog64{Type: uint32(kind), Off: 120}} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "migrate")
	if err := os.WriteFile(file, b.Bytes(), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestStandsAlone: a program that asks for a loader is refused with the command
// that builds one that does not.
func TestStandsAlone(t *testing.T) {
	t.Parallel()
	if err := StandsAlone(linkedProgram(t, elf.PT_LOAD)); err != nil {
		t.Errorf("one that stands alone is refused: %v", err)
	}
	var needs *NeedsLoaderError
	if err := StandsAlone(linkedProgram(t, elf.PT_INTERP)); !errors.As(err, &needs) || !strings.HasSuffix(err.Error(), "\n  make build") {
		t.Errorf("one that asks for a loader: %v", err)
	}
	if err := StandsAlone("standalone_test.go"); err != nil {
		t.Errorf("what is no ELF file is judged: %v", err)
	}
	if err := StandsAlone(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
	// A real one; where it is linked otherwise this says nothing.
	if f, err := elf.Open("/bin/ls"); err == nil {
		defer f.Close()
		if err := StandsAlone("/bin/ls"); f.Section(".interp") != nil && !errors.As(err, &needs) {
			t.Errorf("/bin/ls: %v", err)
		}
	}
}
