package migrate

import "hamigrate/internal/parallel"

// lookedAtOnce bounds how many targets are looked at at the same time: each
// is a process of ours and a session on a host.
const lookedAtOnce = 16

// byTarget calls look for 0 to n-1: targets side by side, and what is about
// one target one after the other, until look says not to go on with that
// target. It is for looking alone: changes are made one at a time, so that a
// run that is killed leaves one of few states behind.
func byTarget(n int, target func(int) string, look func(int) (goOn bool)) {
	of := map[string][]int{}
	var order []string
	for i := range n {
		t := target(i)
		if of[t] == nil {
			order = append(order, t)
		}
		of[t] = append(of[t], i)
	}
	_ = parallel.Limited(lookedAtOnce, order, func(_ int, t string) error {
		for _, i := range of[t] {
			if !look(i) {
				break
			}
		}
		return nil
	})
}
