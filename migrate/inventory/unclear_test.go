package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatCannotBeTaken: a value that means nothing here is named, with its host,
// and the rest is read.
func TestWhatCannotBeTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, text, note string }{
		"a port that is none":      {"h", "[masters]\ncp1 ansible_port=99999\n", `ansible_port "99999" of cp1 is not a port, which is a number from 1 to 65535`},
		"a port behind the name":   {"h", "[masters]\ncp1:99999\n", `ansible_port "99999" of cp1 is not a port`},
		"a user that is an option": {"h", "[masters]\ncp1 ansible_user=-oProxyCommand=x\n", `of cp1 is not a user name, and not taken over`},
		"a template as address":    {"h", "[masters]\ncp1 ansible_host=\"{{ vm_ip }}\"\n", "ansible_host of cp1 is made by a template, and not taken over"},
		"an alias for hosts":       {"h.yml", "x: &h\n  hosts: {cp9: }\nmasters:\n  hosts: {cp1: }\n  children: {more: *h}\n", "h.yml:5: the alias *h is not followed"},
		"an alias for a host":      {"h.yml", "masters:\n  vars: {a: &v {ansible_port: 1}}\n  hosts: {cp1: *v}\n", "h.yml:3: the alias *v is not followed"},
		"a merge key":              {"h.yml", "y:\n  vars: &v {ansible_user: x}\nmasters:\n  hosts:\n    cp1: {<<: *v}\n", "h.yml:5: the alias *v is not followed"},
	} {
		inv, err := Parse(c.file, []byte(c.text))
		if err != nil || len(inv.ControlPlane) != 1 {
			t.Errorf("%s: %+v, %v", name, inv, err)
			continue
		}
		if notes := strings.Join(inv.Notes, "\n"); !strings.Contains(notes, c.note) {
			t.Errorf("%s: no %q in %q", name, c.note, notes)
		}
		if h := inv.ControlPlane[0]; h.Port != 0 || h.User != "" || h.SSHAddress != "cp1" {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// TestNotesOfAFailure: what was noted may be why nothing was found.
func TestNotesOfAFailure(t *testing.T) {
	t.Parallel()
	_, err := Parse("h.yml", []byte("x: &h {hosts: }\nmasters: {children: {more: *h}}\n"))
	if want := "the inventory h.yml has no host: h.yml:2: the alias *h is not followed"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestMarksOfEditors: text of Windows' programs is read, or said to be what it is.
func TestMarksOfEditors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"ini": "[masters]\ncp1\n", "yml": "masters:\n  hosts: {cp1: }\n", "json": `{"masters": {"hosts": ["cp1"]}}`} {
		file := filepath.Join(dir, "h."+name)
		if err := os.WriteFile(file, []byte("\ufeff"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		if inv, err := (Reader{}).Read(t.Context(), file); err != nil || len(inv.ControlPlane) != 1 {
			t.Errorf("%s: %+v, %v", name, inv, err)
		}
	}
	_, err := Parse("h", []byte("\xff\xfe[\x00m\x00]\x00"))
	if err == nil || err.Error() != "h is text in UTF-16: save it as UTF-8" {
		t.Errorf("%v", err)
	}
}
