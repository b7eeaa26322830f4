//go:build !linux

package playground

import "syscall"

// helperAttributes is never used: preflight refuses what is not Linux.
func helperAttributes() *syscall.SysProcAttr { return nil }
