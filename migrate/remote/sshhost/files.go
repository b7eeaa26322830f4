package sshhost

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/remote"
)

// ReadFile returns a regular file of at most 16 MiB (ErrOutputLimit), read in
// one round trip. Symbolic links are followed.
func (h *Host) ReadFile(ctx context.Context, path string) (remote.File, error) {
	out, err := h.script(ctx, "read", path, true, "f", readScript)
	if err != nil {
		return remote.File{}, fmt.Errorf("reading %s on %s: %w", path, h.target.name, err)
	}
	header, data, err := parseHeader(out)
	if err != nil {
		return remote.File{}, fmt.Errorf("reading %s on %s: %w", path, h.target.name, err)
	}
	return remote.File{Path: path, Data: data, Mode: header.mode, Owner: header.owner}, nil
}

// List returns the names in a folder, sorted. Symbolic links are followed.
func (h *Host) List(ctx context.Context, dir string) ([]string, error) {
	out, err := h.script(ctx, "list", dir, true, "d", listScript)
	if err != nil {
		return nil, fmt.Errorf("listing %s on %s: %w", dir, h.target.name, err)
	}
	names, err := parseNames(out)
	if err != nil {
		return nil, fmt.Errorf("listing %s on %s: %w", dir, h.target.name, err)
	}
	return names, nil
}

// parseNames reads what listScript printed.
func parseNames(out []byte) ([]string, error) {
	body, ok := bytes.CutPrefix(out, []byte("folder\n"))
	switch {
	case string(out) == "absent\n":
		return nil, fs.ErrNotExist
	case !ok:
		return nil, fmt.Errorf("not understood: %.40q", out)
	}
	names := strings.Split(string(body), "\x00")
	last := len(names) - 1 // each is ended by NUL
	if names[last] != "" {
		return nil, fmt.Errorf("the list ends within a name: %.40q", names[last])
	}
	names = names[:last]
	for _, name := range names {
		if name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("not the name of a file: %.40q", name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Remove deletes one file, or a symbolic link itself. A folder is an
// *remote.ExitError.
func (h *Host) Remove(ctx context.Context, path string) error {
	if _, err := h.script(ctx, "remove", path, false, "f", removeScript); err != nil {
		return fmt.Errorf("removing %s on %s: %w", path, h.target.name, err)
	}
	return nil
}

// Rename moves a file or folder, see remote.Host. The folder of the target
// has to be there. A move across file systems that was cut is carried on by
// the next Rename with the same arguments; both gone is fs.ErrNotExist.
func (h *Host) Rename(ctx context.Context, from, to string) error {
	err := h.rename(ctx, from, to)
	if err != nil {
		return fmt.Errorf("moving %s to %s on %s: %w", from, to, h.target.name, err)
	}
	return nil
}

func (h *Host) rename(ctx context.Context, from, to string) error {
	source, err := absolute(from)
	if err != nil {
		return err
	}
	target, err := absolute(to)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	err = again(ctx, func() error {
		out.Reset()
		return h.exec(ctx, call{
			script: assign("from", source, "to", target) + renameScript,
			label:  remote.Cmd("mv", "-n", from, to).Script,
			stdout: &out,
		})
	})
	if err != nil {
		return err
	}
	switch answer := strings.TrimSpace(out.String()); answer {
	case "moved":
		return nil
	case "absent":
		return fs.ErrNotExist
	case "exists":
		return fs.ErrExist
	default:
		return fmt.Errorf("the script printed %q", remote.Excerpt(answer))
	}
}

// script runs one of our scripts on one path, which it finds in variable. All
// of them may run twice.
func (h *Host) script(ctx context.Context, verb, path string, reads bool, variable, text string) ([]byte, error) {
	path, err := absolute(path)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = again(ctx, func() error {
		out.Reset()
		todo := call{
			script: assign(variable, path) + text,
			label:  verb + " " + remote.Quote(path),
			stdout: &out,
			reads:  reads,
		}
		if reads {
			h.bounded(&todo, verb+"ing "+path)
		}
		return h.exec(ctx, todo)
	})
	return out.Bytes(), err
}

// header is what readScript prints before a file's content.
type header struct {
	mode  fs.FileMode
	owner string
	size  int64
}

// headerLines is the number of lines of a header.
const headerLines = 7

func parseHeader(out []byte) (header, []byte, error) {
	lines := bytes.SplitN(out, []byte("\n"), headerLines+1)
	if string(lines[0]) == "absent" {
		return header{}, nil, fs.ErrNotExist
	}
	if len(lines) <= headerLines || string(lines[0]) != "file" {
		return header{}, nil, fmt.Errorf("not understood: %.40q", out)
	}
	field := func(i int) string { return string(lines[i]) }
	mode, err1 := strconv.ParseUint(field(1), 8, 32)
	size, err2 := strconv.ParseInt(field(6), 10, 64)
	user, group := named(field(4), field(2)), named(field(5), field(3))
	if err1 != nil || err2 != nil || size < 0 || !isName(user) || !isName(group) {
		return header{}, nil, fmt.Errorf("not understood: %.40q", out)
	}
	return header{
		mode:  fs.FileMode(mode) & fs.ModePerm,
		owner: user + ":" + group,
		size:  size,
	}, lines[headerLines], nil
}

// isName says whether a word can name a user or a group: one is written behind
// the other with a colon between.
func isName(word string) bool { return word != "" && !strings.ContainsAny(word, ": \t\r") }

// named returns name, or the number where stat knows no name for it.
func named(name, number string) string {
	if name == "UNKNOWN" {
		return number
	}
	return name
}
