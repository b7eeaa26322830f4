package playground

import "syscall"

// helperAttributes are for a program that must not outlive us: it is killed
// when we are, even by SIGKILL. The kernel ties that to the thread that
// started it, so the caller stays on its thread. It has a group of its own:
// Ctrl-C is for us to act on.
func helperAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
