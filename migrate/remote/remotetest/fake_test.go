package remotetest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate/remote"
)

func TestContract(t *testing.T) {
	t.Parallel()
	Contract(t, func(t *testing.T) remote.Host {
		f := New("fake")
		f.OnRun("^mktemp -d$", func(string, []byte) (string, error) {
			f.Folder("/tmp/contract")
			return "/tmp/contract\n", nil
		})
		f.OnRun("^rm -rf -- ", func(script string, _ []byte) (string, error) {
			f.Delete(strings.TrimPrefix(script, "rm -rf -- "))
			return "", nil
		})
		f.OnRun("^ln -s ", func(script string, _ []byte) (string, error) {
			words := strings.Fields(script)
			f.Link(words[3], words[2])
			return "", nil
		})
		f.OnRun("^cat$", func(_ string, in []byte) (string, error) { return string(in), nil })
		f.OnRun("^echo hello$", func(string, []byte) (string, error) { return "hello\n", nil })
		f.OnRun("exit 3$", func(string, []byte) (string, error) { return "some\n", Exit(3, "reason\n") })
		f.OnRun("sleep 1; echo > ", func(script string, _ []byte) (string, error) {
			words := strings.Fields(script)
			f.Put(remote.File{Path: strings.TrimSuffix(words[2], ";")})
			time.Sleep(time.Second)
			f.Put(remote.File{Path: words[7]})
			return "", nil
		})
		f.OnRun("sleep 60$", func(script string, _ []byte) (string, error) {
			started, _, _ := strings.Cut(strings.TrimPrefix(script, "echo > "), ";")
			f.Put(remote.File{Path: started})
			<-t.Context().Done()
			return "", nil
		})
		return f
	})
}

func TestFilesSetDirectly(t *testing.T) {
	t.Parallel()
	f := New("cp1")
	f.Files["/etc/kubernetes/manifests/etcd.yaml"] = remote.File{Data: []byte("pod")}
	names, err := f.List(t.Context(), "/etc/kubernetes")
	if err != nil || len(names) != 1 { // folders follow from files
		t.Errorf("got %v, %v", names, err)
	}
	want := map[string]remote.File{"/etc/kubernetes/manifests/etcd.yaml": {
		Path: "/etc/kubernetes/manifests/etcd.yaml", Data: []byte("pod"), Mode: 0o600, Owner: "root:root",
	}}
	if diff := cmp.Diff(want, f.Snapshot()); diff != "" {
		t.Error(diff)
	}
	f.Snapshot()["/etc/kubernetes/manifests/etcd.yaml"].Data[0] = 'X'
	if diff := cmp.Diff(want, f.Snapshot()); diff != "" {
		t.Errorf("a snapshot is no copy: %s", diff)
	}
}

// TestFaultsStrikeOnTheChosenSide fails each of three operations in turn,
// before and after its effect.
func TestFaultsStrikeOnTheChosenSide(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for n := 1; n <= 3; n++ {
		for _, when := range []When{Before, After} {
			f := New("cp1")
			f.FailAt(n, when, boom)
			for i, name := range []string{"/1", "/2", "/3"} {
				err := f.WriteFile(t.Context(), remote.File{Path: name})
				if failed := i+1 == n; errors.Is(err, boom) != failed {
					t.Errorf("operation %d with a fault at %d: %v", i+1, n, err)
				}
			}
			want := 3
			if when == Before {
				want = 2
			}
			if got := len(f.Snapshot()); got != want {
				t.Errorf("fault at %d, when %d: %d files, want %d", n, when, got, want)
			}
			if diff := cmp.Diff([]string{"cp1: write /1", "cp1: write /2", "cp1: write /3"}, f.Ops()); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// TestCrashIsForAll: after a crash nothing works, on any host that shares the
// count, until the program is started again.
func TestCrashIsForAll(t *testing.T) {
	t.Parallel()
	a, b := New("a"), New("b")
	b.Faults = a.Faults
	a.FailAt(2, After, ErrCrashed)
	b.OnRun("", func(string, []byte) (string, error) { return "", nil })
	if err := a.WriteFile(t.Context(), remote.File{Path: "/f"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run(t.Context(), remote.Cmd("true")); !errors.Is(err, ErrCrashed) {
		t.Errorf("got %v", err)
	}
	_, readErr := a.ReadFile(t.Context(), "/f")
	_, lookErr := b.Look(t.Context(), remote.Cmd("true"))
	_, dialErr := b.DialContext(t.Context(), "tcp", "x:1")
	for _, err := range []error{readErr, lookErr, dialErr, a.Remove(t.Context(), "/f")} {
		if !errors.Is(err, ErrCrashed) {
			t.Errorf("after the crash: %v", err)
		}
	}
	a.Faults.Restart()
	if err := a.Remove(t.Context(), "/f"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a: write /f", "b: run true", "a: remove /f"}, a.Ops()); diff != "" {
		t.Error(diff)
	}
}

func TestLookMustNotChangeFiles(t *testing.T) {
	t.Parallel()
	f := New("cp1")
	f.OnRun("touch", func(string, []byte) (string, error) {
		f.Put(remote.File{Path: "/touched"})
		return "", nil
	})
	if _, err := f.Look(t.Context(), remote.Cmd("touch", "/touched")); err == nil {
		t.Error("no error")
	}
	if got := f.Ops(); len(got) != 0 {
		t.Errorf("a look was logged: %q", got)
	}
}

func TestCommandTable(t *testing.T) {
	t.Parallel()
	f := New("cp1")
	say := func(s string) Handler { return func(string, []byte) (string, error) { return s, nil } }
	f.OnRun("^kubeadm ", say("first"))
	f.OnRun("^kubeadm init", say("second"))
	for script, want := range map[string]string{"kubeadm version": "first", "kubeadm init": "second"} {
		if got, err := f.Run(t.Context(), remote.Command{Script: script}); got != want || err != nil {
			t.Errorf("%s: %q, %v", script, got, err)
		}
	}
	_, err := f.Run(t.Context(), remote.Command{Script: "reboot"})
	var exit *remote.ExitError
	if !errors.As(err, &exit) || exit.Status != 127 || exit.Host != "cp1" {
		t.Errorf("unknown script: %v", err)
	}
}

func TestDialAnswers(t *testing.T) {
	t.Parallel()
	f := New("cp1")
	here, there := net.Pipe()
	defer there.Close()
	f.OnDial("127.0.0.1:2379", func() net.Conn { return here })
	got, err := f.DialContext(t.Context(), "tcp", "127.0.0.1:2379")
	if err != nil || got != here {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestTornCopy: a source that ends early must not be copied.
func TestTornCopy(t *testing.T) {
	t.Parallel()
	source, f := torn{New("source")}, New("cp1")
	source.Put(remote.File{Path: "/f", Data: []byte("all of it")})
	f.Put(remote.File{Path: "/f", Data: []byte("kept")})
	if err := f.Copy(t.Context(), source, "/f", remote.File{Path: "/f"}); err == nil {
		t.Error("no error")
	}
	if got, err := f.ReadFile(t.Context(), "/f"); err != nil || string(got.Data) != "kept" {
		t.Errorf("got %q, %v", got.Data, err)
	}
}

type torn struct{ *Fake }

func (s torn) Open(ctx context.Context, p string) (io.ReadCloser, int64, error) {
	r, size, err := s.Fake.Open(ctx, p)
	return r, size + 1, err
}

func TestLinksAreFollowed(t *testing.T) {
	t.Parallel()
	f := New("w1")
	f.Link("/pki/current", "2020")
	if _, err := f.ReadFile(t.Context(), "/pki/current"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dangling link: %v", err)
	}
	f.Put(remote.File{Path: "/srv/x/f", Data: []byte("below")})
	f.Link("/etc/x", "../srv/x")
	if got, err := f.ReadFile(t.Context(), "/etc/x/f"); err != nil || string(got.Data) != "below" {
		t.Errorf("below a link: %q, %v", got.Data, err)
	}
	f.Link("/a", "/b")
	f.Link("/b", "/a")
	if _, err := f.ReadFile(t.Context(), "/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a loop: %v", err)
	}
	if err := f.WriteFile(t.Context(), remote.File{Path: "/pki/current", Data: []byte("new")}); err != nil {
		t.Fatal(err)
	}
	if got := string(f.Snapshot()[path.Join("/pki", "2020")].Data); got != "new" {
		t.Errorf("got %q", got)
	}
}
