package remotetest

import (
	"io/fs"
	"strings"
	"testing"

	"hamigrate/migrate/remote"
)

func writeAndRead(t *testing.T, x fixture) {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	for name, content := range map[string]string{
		"empty": "", "text": "one\ntwo", "every byte": strings.Repeat(string(all[:]), 4096),
	} {
		p := x.put(t, "file", content)
		x.has(t, remote.File{Path: p, Data: []byte(content), Mode: 0o600, Owner: "root:root"})
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func newFileDefaults(t *testing.T, x fixture) {
	p := x.put(t, "new", "x")
	x.has(t, remote.File{Path: p, Data: []byte("x"), Mode: 0o600, Owner: "root:root"})
}

func writeKeeps(t *testing.T, x fixture) {
	f := remote.File{Path: x.path("kept"), Data: []byte("old"), Mode: 0o641, Owner: "daemon:daemon"}
	x.write(t, f)
	f.Data = []byte("new")
	x.write(t, remote.File{Path: f.Path, Data: f.Data})
	x.has(t, f)
}

func writeSets(t *testing.T, x fixture) {
	f := remote.File{Path: x.path("set"), Data: []byte("old"), Mode: 0o400, Owner: "daemon:root"}
	x.write(t, f)
	x.has(t, f)
	f.Mode, f.Owner = 0o755, "root:daemon"
	x.write(t, f)
	x.has(t, f)
}

func writeMakesFolders(t *testing.T, x fixture) {
	p := x.put(t, "a/b/c", "x")
	x.has(t, remote.File{Path: p, Data: []byte("x"), Mode: 0o600, Owner: "root:root"})
	x.lists(t, x.path("a"), "b")
}

func writeThroughLink(t *testing.T, x fixture) {
	f := remote.File{Path: x.path("client-2020.pem"), Data: []byte("old"), Mode: 0o640}
	x.write(t, f)
	link := x.path("client-current.pem")
	must(x.Run(t.Context(), remote.Cmd("ln", "-s", "client-2020.pem", link)))(t)
	f.Data, f.Owner = []byte("new"), "root:root"
	x.put(t, "client-current.pem", "new")
	x.has(t, f)
	x.put(t, "client-2020.pem", "newer")
	x.has(t, remote.File{Path: link, Data: []byte("newer"), Mode: 0o640, Owner: "root:root"})

	must(x.Run(t.Context(), remote.Cmd("ln", "-s", ".", x.path("way"))))(t)
	through := x.put(t, "way/through", "x")
	x.lists(t, x.path("way"), "client-2020.pem", "client-current.pem", "through", "way")
	x.has(t, remote.File{Path: x.path("through"), Data: []byte("x"), Mode: 0o600, Owner: "root:root"})
	if err := x.Remove(t.Context(), through); err != nil {
		t.Error(err)
	}
	x.lists(t, x.dir, "client-2020.pem", "client-current.pem", "way")
}

func writeLeavesNothing(t *testing.T, x fixture) {
	folder := x.put(t, "d/sub/file", "x")
	wantError(t, "writing onto a folder", x.WriteFile(t.Context(), remote.File{Path: x.path("d/sub")}))
	wantError(t, "writing to nobody", x.WriteFile(t.Context(), remote.File{Path: "relative"}))
	x.lists(t, x.path("d"), "sub")
	x.lists(t, x.path("d/sub"), "file")
	x.has(t, remote.File{Path: folder, Data: []byte("x"), Mode: 0o600, Owner: "root:root"})
}

func oddNames(t *testing.T, x fixture) {
	names := []string{" ", "$HOME", "'", "*", "-rf", "a\nb", "ä\\n"}
	for _, name := range names {
		p := x.put(t, name, name)
		x.has(t, remote.File{Path: p, Data: []byte(name), Mode: 0o600, Owner: "root:root"})
	}
	x.lists(t, x.dir, names...)
	for _, name := range names {
		if err := x.Rename(t.Context(), x.path(name), x.path("moved")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := x.Remove(t.Context(), x.path("moved")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	x.lists(t, x.dir)
}

func unreadable(t *testing.T, x fixture) {
	file := x.put(t, "file", "")
	for _, p := range []string{x.path("absent"), x.path("absent/too"), file + "/below"} {
		_, err := x.ReadFile(t.Context(), p)
		wantIs(t, err, fs.ErrNotExist)
		_, err = x.List(t.Context(), p)
		wantIs(t, err, fs.ErrNotExist)
	}
	_, err := x.ReadFile(t.Context(), x.dir)
	wantError(t, "reading a folder", err)
	_, err = x.List(t.Context(), file)
	wantError(t, "listing a file", err)
	_, err = x.ReadFile(t.Context(), "relative")
	wantError(t, "reading a relative path", err)
	_, err = x.ReadFile(t.Context(), "")
	wantError(t, "reading no path", err)
}

func list(t *testing.T, x fixture) {
	x.lists(t, x.dir)
	for _, name := range []string{"b", ".hidden", "a", "Z", "..two", "folder/below"} {
		x.put(t, name, "")
	}
	x.lists(t, x.dir, "..two", ".hidden", "Z", "a", "b", "folder")
	for _, name := range []string{"folder/below"} {
		if err := x.Remove(t.Context(), x.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	x.lists(t, x.path("folder"))
}

func rename(t *testing.T, x fixture) {
	f := remote.File{Path: x.path("from"), Data: []byte("x"), Mode: 0o640, Owner: "daemon:daemon"}
	x.write(t, f)
	for range 2 { // the second time it was done before
		if err := x.Rename(t.Context(), x.path("from"), x.path("to")); err != nil {
			t.Fatal(err)
		}
		x.lists(t, x.dir, "to")
	}
	f.Path = x.path("to")
	x.has(t, f)

	x.put(t, "folder/sub/file", "y")
	for range 2 {
		if err := x.Rename(t.Context(), x.path("folder"), x.path("moved")); err != nil {
			t.Fatal(err)
		}
		x.lists(t, x.dir, "moved", "to")
	}
	x.has(t, remote.File{Path: x.path("moved/sub/file"), Data: []byte("y"), Mode: 0o600, Owner: "root:root"})
}

func renameRefuses(t *testing.T, x fixture) {
	from, to := x.put(t, "from", "1"), x.put(t, "to", "2")
	wantIs(t, x.Rename(t.Context(), from, to), fs.ErrExist)
	x.put(t, "folder/file", "")
	wantIs(t, x.Rename(t.Context(), from, x.path("folder")), fs.ErrExist)
	wantIs(t, x.Rename(t.Context(), x.path("folder"), to), fs.ErrExist)
	wantIs(t, x.Rename(t.Context(), x.path("absent"), x.path("gone")), fs.ErrNotExist)
	wantError(t, "moving into no folder", x.Rename(t.Context(), from, x.path("no/folder")))
	wantError(t, "moving to a relative path", x.Rename(t.Context(), from, "relative"))
	x.lists(t, x.dir, "folder", "from", "to")
	x.has(t, remote.File{Path: from, Data: []byte("1"), Mode: 0o600, Owner: "root:root"})
	x.has(t, remote.File{Path: to, Data: []byte("2"), Mode: 0o600, Owner: "root:root"})
}

func remove(t *testing.T, x fixture) {
	p := x.put(t, "file", "")
	for range 2 {
		if err := x.Remove(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		x.lists(t, x.dir)
	}
	if err := x.Remove(t.Context(), x.path("no/folder")); err != nil {
		t.Error(err)
	}
	x.put(t, "folder/file", "")
	wantError(t, "removing a folder", x.Remove(t.Context(), x.path("folder")))
	x.lists(t, x.path("folder"), "file")
}

func copyFile(t *testing.T, x fixture) {
	content := strings.Repeat("0123456789abcde\n", 1<<16)
	from := x.put(t, "from", content)
	to := remote.File{Path: x.path("new/to"), Data: []byte("ignored"), Mode: 0o751, Owner: "daemon:daemon"}
	if err := x.Copy(t.Context(), x.Host, from, to); err != nil {
		t.Fatal(err)
	}
	to.Data = []byte(content)
	x.has(t, to)
	x.put(t, "from", "")
	if err := x.Copy(t.Context(), x.Host, from, remote.File{Path: to.Path}); err != nil {
		t.Fatal(err)
	}
	to.Data = nil
	x.has(t, to)

	plain := struct{ remote.Reader }{x.Host} // no Streamer
	x.put(t, "from", "plain")
	if err := x.Copy(t.Context(), plain, from, remote.File{Path: to.Path}); err != nil {
		t.Fatal(err)
	}
	to.Data = []byte("plain")
	x.has(t, to)
	x.lists(t, x.path("new"), "to")
}

func copyRefuses(t *testing.T, x fixture) {
	to := x.put(t, "to", "kept")
	wantIs(t, x.Copy(t.Context(), x.Host, x.path("absent"), remote.File{Path: to}), fs.ErrNotExist)
	wantError(t, "copying a folder", x.Copy(t.Context(), x.Host, x.dir, remote.File{Path: to}))
	x.has(t, remote.File{Path: to, Data: []byte("kept"), Mode: 0o600, Owner: "root:root"})
	x.lists(t, x.dir, "to")
}
