package phasestest

import (
	"fmt"
	"slices"
	"strconv"
)

// kill plays STOP and CONT of a process that runs: one that stands still for a
// second is, to whoever asks it, one that is slow.
func kill(p program) error {
	if len(p.args) != 2 || !slices.Contains([]string{"-STOP", "-CONT"}, p.args[0]) {
		return fmt.Errorf("%q is not played", p.args)
	}
	pid, err := strconv.Atoi(p.args[1])
	if err != nil {
		return fmt.Errorf("kill: %s: arguments must be process or job IDs", p.args[1])
	}
	for _, pod := range p.host.apiServers() {
		if pod.proc.pid == pid {
			return nil
		}
	}
	return fmt.Errorf("kill: (%d) - No such process", pid)
}
