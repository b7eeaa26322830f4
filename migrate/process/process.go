// Package process finds the running processes of a host and the flags they really
// run with: a manifest says what should run, the process table what does.
package process

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// Running is a running process of a host and the flags it really runs with:
// a manifest says what should run, the process table what does.
type Running struct {
	PID   int
	Exe   string // as the process's own mount namespace names it
	Flags kube.Flags
}

// processScript prints, for each process with the given name: its PID, its
// program, and one argument a line, ended by a line with only a dot. It starts
// no program for the processes of other names: a node has hundreds.
const ProcessScript = `for d in /proc/[0-9]*; do
IFS= read -r name <"$d/comm" && [ "$name" = %s ] || continue
exe=$(readlink "$d/exe") || continue
printf '%%s\n%%s\n' "${d#/proc/}" "$exe"; tr '\0' '\n' <"$d/cmdline"; %secho .
done 2>/dev/null`

// Find lists a host's processes by name (at most 15 characters, the
// kernel's limit for /proc/PID/comm).
func Find(ctx context.Context, r remote.Reader, name string) ([]Running, error) {
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf(ProcessScript, remote.Quote(name), "")})
	if err != nil {
		return nil, fmt.Errorf("listing %s processes on %s: %w", name, r.Name(), err)
	}
	list, _, err := ParseProcesses(out)
	if err != nil {
		return nil, fmt.Errorf("listing %s processes on %s: %w", name, r.Name(), err)
	}
	return list, nil
}

// dyingScript prints the PIDs of processes with the given name that have given
// their memory back, by which Find no longer lists them, and not yet their
// connections: the kernel does it in this order (kernel/exit.c, do_exit:
// exit_mm, exit_files, exit_notify). A zombie without other threads has given
// back all.
const dyingScript = `for d in /proc/[0-9]*; do
IFS= read -r name <"$d/comm" && [ "$name" = %s ] || continue
readlink "$d/exe" >/dev/null && continue
read -r _ _ state _ <"$d/stat" || continue
set -- "$d"/task/*
[ "$state" = Z ] && [ $# -lt 2 ] || echo "${d#/proc/}"
done 2>/dev/null; :`

// Dying is the error that a process of a name (15 characters at most) is about
// to be gone, and may not have closed all of its connections yet.
func Dying(ctx context.Context, r remote.Reader, name string) error {
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf(dyingScript, remote.Quote(name))})
	if err != nil {
		return fmt.Errorf("listing dying %s processes on %s: %w", name, r.Name(), err)
	}
	if pids := strings.Fields(out); len(pids) > 0 {
		return fmt.Errorf("%s on %s, process %s, is about to be gone", name, r.Name(), strings.Join(pids, ", "))
	}
	return nil
}

// environmentMark is the line between a process's arguments and those of its
// environment's variables that were asked for.
const EnvironmentMark = ".environment"

// parseProcesses reads what processScript printed; variables has, for each
// process, the lines below environmentMark.
func ParseProcesses(out string) (list []Running, variables [][]string, err error) {
	for block := range strings.SplitSeq(out, "\n.\n") {
		block, environment, _ := strings.Cut(block+"\n", "\n"+EnvironmentMark+"\n")
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if len(lines) < 3 {
			continue
		}
		pid, err := strconv.Atoi(lines[0])
		if err != nil {
			return nil, nil, fmt.Errorf("unexpected output %q", lines[0])
		}
		list = append(list, Running{PID: pid, Exe: lines[1], Flags: kube.ParseFlags(lines[3:])})
		variables = append(variables, strings.Split(environment, "\n"))
	}
	return list, variables, nil
}
