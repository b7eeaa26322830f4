package build

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCommandOutputAndError(t *testing.T) {
	t.Parallel()
	var seen []string
	c := command{dir: t.TempDir(), env: []string{"WORD=hello", "GOFLAGS=-mod=mod"}, line: func(text string) bool {
		seen = append(seen, text)
		return strings.HasPrefix(text, "hide")
	}}
	out, err := c.run(context.Background(), "sh", "-c", `echo "$WORD $PWD $GOFLAGS"; echo hide me >&2; echo keep me >&2`)
	if err != nil {
		t.Fatal(err)
	}
	if want := "hello " + c.dir + " -mod=mod\n"; out != want {
		t.Errorf("output %q, want %q", out, want)
	}
	if got := strings.Join(seen, "|"); got != "hide me|keep me" {
		t.Errorf("lines %q", got)
	}

	_, err = c.run(context.Background(), "sh", "-c", `i=0; while [ $i -lt 40 ]; do echo line $i >&2; echo hide >&2; i=$((i+1)); done; exit 3`)
	var failed *commandError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want a commandError", err)
	}
	if len(failed.Tail) != tailLines || failed.Tail[tailLines-1] != "line 39" || strings.Contains(err.Error(), "hide") {
		t.Errorf("the error is %v", err)
	}
	if _, err := c.run(context.Background(), "no-such-program-anywhere"); !missing(err) {
		t.Errorf("got %v, want that the program is missing", err)
	}
}

func TestEndlessLineDoesNotBlock(t *testing.T) {
	t.Parallel()
	if _, err := (command{}).run(context.Background(), "sh", "-c", `head -c 3000000 /dev/zero | tr '\0' x >&2`); err != nil {
		t.Error(err)
	}
}

func TestCancelKillsGrandchildren(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	var child int
	c := command{line: func(text string) bool {
		child, _ = strconv.Atoi(text)
		cancel()
		return true
	}}
	// The grandchild ignores the polite signal.
	began := time.Now()
	_, err := c.run(ctx, "sh", "-c", `sh -c 'trap "" TERM; echo $$ >&2; exec 2>&- >&-; while :; do sleep 0.05; done' & wait`)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	if took := time.Since(began); took > stopGrace {
		t.Errorf("stopping took %v", took)
	}
	until(t, "the grandchild is gone", func() bool { return !alive(child) })
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(text), ") Z ")
}
