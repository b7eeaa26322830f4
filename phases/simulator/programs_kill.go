package simulator

import (
	"fmt"
	"slices"
	"strconv"
)

// kill plays signals to an API server that runs. STOP and CONT: one that
// stands still for a second is, to whoever asks it, one that is slow. TERM: it
// gives up its lease and its listener at once, and ends a minute later, or with
// the next signal, which is the kubelet's where the manifest was changed.
func kill(p program) error {
	if len(p.args) != 2 || !slices.Contains([]string{"-STOP", "-CONT", "-TERM"}, p.args[0]) {
		return fmt.Errorf("%q is not played", p.args)
	}
	pid, err := strconv.Atoi(p.args[1])
	if err != nil {
		return fmt.Errorf("kill: %s: arguments must be process or job IDs", p.args[1])
	}
	for _, pod := range p.host.apiServers() {
		if pod.proc.pid == pid {
			if p.args[0] == "-TERM" {
				p.host.tellToStop(pod)
			}
			return nil
		}
	}
	return fmt.Errorf("kill: (%d) - No such process", pid)
}
