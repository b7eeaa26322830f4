package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdEndWithin: end-within TIME PROGRAM ARGS... -- PROGRAM ARGS... runs programs
// side by side, each of which has to fail within the time. What the n-th one
// said on its standard error is written to the file said.n.
func cmdEndWithin(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	var all sync.WaitGroup
	problems := make(chan string, len(args))
	for n, words := range commandsIn(args[1:]) {
		cmd := exec.Command(findProgram(ts, words[0]), words[1:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "SSH_AUTH_SOCK=", "PATH="+ts.Getenv("PATH"))
		var said bytes.Buffer
		cmd.Stderr = &said
		file := filepath.Join(cmd.Dir, "said."+string(rune('1'+n)))
		all.Go(func() {
			start := time.Now()
			ended := time.AfterFunc(2*limit, func() { cmd.Process.Kill() }) //nolint:errcheck // it has ended
			err := cmd.Run()
			ended.Stop()
			if took := time.Since(start); took > limit || err == nil {
				problems <- strings.Join(words, " ") + ": took " + took.String()
			}
			if err := os.WriteFile(file, said.Bytes(), 0o600); err != nil {
				problems <- err.Error()
			}
		})
	}
	all.Wait()
	close(problems)
	failed := 0
	for p := range problems {
		ts.Logf("%s", p)
		failed++
	}
	if failed > 0 {
		ts.Fatalf("not all ended as they should")
	}
}

// endsWithin is for how long a program may go on after a signal. It was seen to
// take 0.1 s; the machine may be busy.
const endsWithin = 3 * time.Second

// cmdInterrupt: interrupt SIGNAL[:CODE] PROGRAM [ARGS...] sends a program the signal
// once it has connected to a host of cmdSSHHost's. It must end soon after, and by
// itself: with that exit code, which is 130 where none is named. What it said is
// written to the file said.
func cmdInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	name, code, named := strings.Cut(args[0], ":")
	if !named {
		code = "130"
	}
	sig := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}[name]
	connected := ts.MkAbs("connected")
	ts.Check(os.RemoveAll(connected))
	cmd := exec.Command(findProgram(ts, args[1]), args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "SSH_AUTH_SOCK=", "PATH="+ts.Getenv("PATH"))
	var said bytes.Buffer
	cmd.Stderr = &said
	ts.Check(cmd.Start())
	for deadline := time.Now().Add(20 * time.Second); !exists(connected); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			cmd.Process.Kill() //nolint:errcheck // the script fails
			ts.Fatalf("%v has not connected; it said %s", args, said.String())
		}
	}
	start := time.Now()
	ts.Check(cmd.Process.Signal(sig))
	late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() }) //nolint:errcheck // it has ended
	err := cmd.Wait()
	late.Stop()
	ts.Logf("%v ended %v after %s", args[1:], time.Since(start).Round(time.Millisecond), args[0])
	if took := time.Since(start); took > endsWithin {
		ts.Fatalf("%v ended %v after the signal", args, took)
	}
	ts.Check(os.WriteFile(ts.MkAbs("said"), said.Bytes(), 0o600))
	if got := cmd.ProcessState.ExitCode(); strconv.Itoa(got) != code {
		ts.Fatalf("%v: exit code %d (%v); it said:\n%s", args, got, err, said.String())
	}
}

// commandsIn splits words at "--".
func commandsIn(words []string) [][]string {
	out := [][]string{nil}
	for _, w := range words {
		if w == "--" {
			out = append(out, nil)
			continue
		}
		out[len(out)-1] = append(out[len(out)-1], w)
	}
	return out
}
