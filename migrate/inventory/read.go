package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/show"
)

// Bounds of what is read, far above any inventory. They hold while reading:
// of a pipe or a device nobody knows the size.
const (
	maxSize  = 8 << 20
	maxFiles = 500
	maxLevel = 4 // of folders in folders
)

// Reader reads inventories.
type Reader struct {
	// Ansible is the program ansible-inventory, "" where there is none.
	Ansible string
}

// Read reads an inventory, a file or a folder, with the machine's
// ansible-inventory if there is one. Errors name the file and, where there is
// one, the line.
func Read(ctx context.Context, file string) (Inventory, error) {
	program, err := exec.LookPath("ansible-inventory")
	if err != nil {
		program = "" // it is not needed
	}
	return Reader{Ansible: program}.Read(ctx, file)
}

// Read reads an inventory, a file or a folder.
func (r Reader) Read(ctx context.Context, file string) (Inventory, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Inventory{}, fmt.Errorf("there is no inventory %s (%w)", file, fs.ErrNotExist)
	case err != nil:
		return Inventory{}, fmt.Errorf("reading the inventory: %w", err)
	case info.IsDir():
		return r.withAnsible(ctx, file, func() (Inventory, error) { return readFolder(file) })
	}
	m := newModel(file)
	data, err := new(files).read(file)
	if err != nil {
		return Inventory{}, err
	}
	program := r.Ansible
	if !info.Mode().IsRegular() || isList(data) {
		program = "" // a pipe is read once; what it has printed itself, it does not read
	}
	return Reader{program}.withAnsible(ctx, file, func() (Inventory, error) {
		return m.readFile(file, data)
	})
}

// Parse reads a file's content, and nothing that lies beside it.
func Parse(file string, data []byte) (Inventory, error) {
	m := newModel(file)
	if err := m.parse(data); err != nil {
		return Inventory{}, err
	}
	return m.inventory()
}

func (m *model) readFile(file string, data []byte) (Inventory, error) {
	if strings.HasPrefix(string(data), "#!") {
		return Inventory{}, show.Errorf(nil, "the inventory %s is a program, which is not started here; write down what it prints:\n  ansible-inventory -i %s --list > hosts.json", file, quoted(file))
	}
	if bytes.HasPrefix(data, []byte(vaultMark)) {
		return Inventory{}, show.Errorf(nil, "the inventory %s is locked by ansible-vault as a whole; unlock it into a file that only you can read, and give that to this command:\n  (umask 077; ansible-vault view %s > hosts.yml)", file, quoted(file))
	}
	if err := m.parse(data); err != nil {
		return Inventory{}, err
	}
	new(files).beside(m, m.dir)
	return m.inventory()
}

// parse reads a file's content: as a tree or as INI, whatever its name is, for
// Ansible tries one after the other, too.
func (m *model) parse(data []byte) error {
	data, err := inputfile.Text(data)
	if err != nil {
		return fmt.Errorf("%s %w", m.file, err)
	}
	if err := m.isText(data); err != nil {
		return err
	}
	if isTree(m.file, data) {
		return m.tree(data)
	}
	return m.ini(data)
}

// mappingKey is a line with a key of YAML and nothing that INI could mean: a
// host with a port has digits behind the colon.
var mappingKey = regexp.MustCompile(`^("[^"]*"|'[^']*'|[\w.@ -]+):\s*([#&!{].*)?$`)

// isTree decides by the first line that says something.
func isTree(file string, data []byte) bool {
	named := slices.Contains([]string{".yml", ".yaml", ".json"}, strings.ToLower(filepath.Ext(file)))
	for _, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.HasPrefix(line, "#"), strings.HasPrefix(line, "%YAML"):
			continue
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "{"):
			return true
		case strings.HasPrefix(line, "["), strings.HasPrefix(line, ";"):
			return false
		}
		return named || mappingKey.MatchString(line)
	}
	return named
}

// isList says whether this is what `ansible-inventory --list` prints.
func isList(data []byte) bool {
	data = bytes.TrimSpace(data)
	return bytes.HasPrefix(data, []byte("{")) && bytes.Contains(data, []byte(`"_meta"`))
}

// files reads files up to a bound for all of them together.
type files struct{ size, count int }

func (f *files) read(file string) ([]byte, error) {
	if f.count++; f.count > maxFiles {
		return nil, fmt.Errorf("%s: more than %d files are no inventory that is read here", file, maxFiles)
	}
	data, err := inputfile.Kind{What: "inventory", Max: maxSize}.Read(file)
	if err != nil {
		return nil, err
	}
	if f.size += len(data); f.size > maxSize {
		return nil, fmt.Errorf("the files up to %s have more than %d MiB together, which is no inventory", file, maxSize>>20)
	}
	return data, nil
}

// readFolder reads the files of a folder in the order of their names, as
// Ansible does, into one inventory.
func readFolder(dir string) (Inventory, error) {
	m := newModel(dir)
	m.dir = dir
	f := new(files)
	if err := f.folder(m, dir, 0); err != nil {
		return Inventory{}, err
	}
	m.file = dir
	if len(m.hosts) == 0 {
		return Inventory{}, fmt.Errorf("the folder %s has no file with hosts%s", dir, because(m.notes))
	}
	f.beside(m, dir)
	return m.inventory()
}

func because(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	return ": " + strings.Join(notes, "; ")
}

func (f *files) folder(m *model, dir string, level int) error {
	for _, path := range listed(dir) {
		name := filepath.Base(path)
		info, err := os.Stat(path)
		switch {
		case name == "group_vars" || name == "host_vars":
			continue
		case err != nil || !info.IsDir() && !info.Mode().IsRegular():
			m.note("%s was not read: it is no file", path)
			continue
		case info.IsDir() && level == maxLevel:
			m.note("%s was not read: it is a folder too deep", path)
			continue
		case info.IsDir():
			if err := f.folder(m, path, level+1); err != nil {
				return err
			}
			continue
		}
		data, err := f.read(path)
		if err != nil {
			return err
		}
		m.file = path
		switch {
		case bytes.HasPrefix(data, []byte("#!")):
			m.note("%s is a program and was not started", path)
		case bytes.HasPrefix(data, []byte(vaultMark)):
			m.note("%s is locked by ansible-vault and was not read", path)
		default:
			// Ansible goes on with the other files, too.
			if err := m.parse(data); err != nil {
				m.note("not all was read: %v", err)
			}
		}
	}
	return nil
}

// listed are the files and folders in a folder that Ansible does not ignore
// (INVENTORY_IGNORE_EXTS). Old versions ignore .ini as well.
func listed(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // it is not there, or not for us: nothing of it is read
	}
	ignored := []string{".pyc", ".pyo", ".swp", ".bak", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"}
	var out []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, "~") && !slices.Contains(ignored, filepath.Ext(name)) {
			out = append(out, filepath.Join(dir, name))
		}
	}
	return out
}

// beside reads group_vars and host_vars of the groups and hosts that there
// are.
func (f *files) beside(m *model, dir string) {
	for _, path := range listed(filepath.Join(dir, "group_vars")) {
		if g := m.groups[keyOf(plainName(path))]; g != nil {
			f.vars(m, g.beside, path, 0)
		} else if plainName(path) == "all" {
			f.vars(m, m.group("all").beside, path, 0)
		}
	}
	for _, path := range listed(filepath.Join(dir, "host_vars")) {
		for _, name := range []string{filepath.Base(path), plainName(path)} {
			if m.hosts[name] == nil {
				continue
			}
			if m.beside[name] == nil {
				m.beside[name] = vars{}
			}
			f.vars(m, m.beside[name], path, 0)
			break
		}
	}
}

// plainName is the group or host that a file of variables is for.
func plainName(path string) string {
	name := filepath.Base(path)
	for _, ext := range []string{".yml", ".yaml", ".json"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// vars reads a file of variables, or all in a folder.
func (f *files) vars(m *model, into vars, path string, level int) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() && level < maxLevel {
		for _, one := range listed(path) {
			f.vars(m, into, one, level+1)
		}
		return
	}
	if err != nil || !info.Mode().IsRegular() {
		m.note("%s was not read: it is no file", path)
		return
	}
	data, err := f.read(path)
	if err != nil {
		m.note("%s was not read: %v", path, err)
		return
	}
	if bytes.HasPrefix(data, []byte(vaultMark)) {
		m.note("%s is locked by ansible-vault and was not read", path)
		return
	}
	file := m.file
	m.file = path
	defer func() { m.file = file }()
	n, err := m.node(data)
	if err != nil {
		m.note("%s was not read: it is no YAML", path)
		return
	}
	for key, value := range m.flatten(n) {
		into[key] = value
	}
}
