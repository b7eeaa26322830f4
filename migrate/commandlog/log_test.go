package commandlog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/runlog"
)

// keptIn opens a log of a test.
func keptIn(t *testing.T, path string) (*Log, *bytes.Buffer) {
	t.Helper()
	var complaints bytes.Buffer
	l := New(&complaints, []string{"migrate", "run", "--yes"}, "dev")
	l.Open(path, "migrate run")
	return l, &complaints
}

// keptText is the entries of a log, as a person reads them, without times.
func keptText(t *testing.T, path string) string {
	t.Helper()
	all, err := runlog.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range all {
		_, text, _ := strings.Cut(string(View{}.text(e)), " ")
		out.WriteString(text)
	}
	return out.String()
}

// TestWhatWasShownIsKept as plain lines, whatever a terminal made of it and however
// many writes a line was.
func TestWhatWasShownIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	l := New(new(bytes.Buffer), []string{"migrate", "run"}, "dev")
	l.Shown(runlog.Err, []byte("before the spec was read\n"))
	l.Open(path, "migrate run")
	l.Shown(runlog.Err, []byte("\r\x1b[K~ [1/2] waiting"))
	l.Shown(runlog.Err, []byte("\r\x1b[K\x1b[32m✓\x1b[0m done\n"))
	l.Shown(runlog.Out, []byte("half a "))
	l.Shown(runlog.Out, []byte("line\n\n"))
	l.Shown(runlog.Err, []byte("Type the cluster's name: "))
	l.Ran(sshhost.Ran{Host: "cp1", Script: "true"})
	l.Shown(runlog.Out, []byte("the end"))
	l.End(4, errors.New("stopped\nas asked"))
	l.Shown(runlog.Out, []byte("after the end\n"))
	text := keptText(t, path)
	for _, want := range []string{"| before the spec was read\n", "| ~ [1/2] waiting\n| ✓ done\n| half a line\n", "| Type the cluster's name: \ncp1: status 0", "| the end\nended with exit code 4 after 0.0 s: stopped\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "after the end") || strings.Contains(text, "[32m") {
		t.Error(text)
	}
}

// TestNoSecretIsKept: of what is shown, of command lines, of what hosts say; also
// where a key comes line by line.
func TestNoSecretIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.log")
	var complaints bytes.Buffer
	l := New(&complaints, []string{"migrate", "run", "--token", "abcdef.0123456789abcdef"}, "dev")
	l.Open(path, "migrate run")
	for _, line := range []string{"-----BEGIN RSA PRIVATE KEY-----", "c3VwZXJzZWNyZXQ=", "-----END RSA PRIVATE KEY-----", "password: hunter2", "next"} {
		l.Shown(runlog.Out, []byte(line+"\n"))
	}
	l.Ran(sshhost.Ran{Host: "cp1", Script: "kubeadm join --token abcdef.0123456789abcdef 192.0.2.5:6443", Status: 1, Stderr: "bad token: hunter2\nAuthorization: Bearer hunter2\n"})
	l.Ran(sshhost.Ran{Host: "cp1", Script: "x", Err: errors.New("https://ada:hunter2@proxy.example: no route")})
	l.End(1, errors.New("password=hunter2"))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", "c3VwZXJz", "0123456789abcdef"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("%s is in\n%s", secret, data)
		}
	}
	l.said.Wait()
	if text := keptText(t, path); !strings.Contains(text, "| next") || !strings.Contains(text, "192.0.2.5:6443") || complaints.Len() > 0 {
		t.Errorf("%s%s", text, complaints.String())
	}
}

// TestALogThatFailsIsToldOnce, whether at its beginning or later.
func TestALogThatFailsIsToldOnce(t *testing.T) {
	t.Parallel()
	l, complaints := keptIn(t, filepath.Join(t.TempDir(), "no", "such", "folder"))
	l.Shown(runlog.Out, []byte("a\nb\n"))
	l.End(0, nil)
	l.said.Wait()
	if got := complaints.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "is not written: open ") {
		t.Errorf("%q", got)
	}
	path := filepath.Join(t.TempDir(), "j.log")
	l, complaints = keptIn(t, path)
	if err := errors.Join(os.Remove(path), os.Symlink("elsewhere", path)); err != nil {
		t.Fatal(err)
	}
	l.Shown(runlog.Out, []byte("a\nb\n"))
	l.End(0, nil)
	l.said.Wait()
	if got := complaints.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "symbolic link") {
		t.Errorf("%q", got)
	}
	var none *Log
	none.Shown(runlog.Out, []byte("a\n"))
	none.Lost(runlog.Out, errors.New("x"))
	none.End(0, nil)
}

// TestTheLogCommandsNothing: neither the terminal of who reads it, nor a line of its
// own.
func TestTheLogCommandsNothing(t *testing.T) {
	t.Parallel()
	evil := "a\x1b]0;title\x07\x9b2J\u202eb\r\nended with exit code 0"
	v := View{}
	text := v.text(runlog.Entry{Kind: runlog.Begin, Begun: &runlog.Begun{Command: evil, Who: evil, Folder: evil, Version: evil}}) +
		v.text(runlog.Entry{Kind: runlog.Out, Text: evil}) + v.text(runlog.Entry{Kind: runlog.Unread, Text: evil}) +
		v.text(runlog.Entry{Kind: runlog.Ran, Host: &runlog.OnHost{Host: evil, Name: evil, Stderr: evil, Error: evil, Status: 1, Stdin: &runlog.Digest{SHA256: evil}}}) +
		v.text(runlog.Entry{Kind: runlog.End, Ended: &runlog.Outcome{Error: evil}})
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsAny(line, "\x1b\x07\r\u202e") || strings.Contains(line, "\x9b") || strings.HasPrefix(line, "ended with exit code 0") {
			t.Errorf("%q", line)
		}
	}
}
