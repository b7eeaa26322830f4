package sshhost

import (
	"os"
	"testing"
)

// TestMain keeps the agent of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	os.Unsetenv("SSH_AUTH_SOCK")
	os.Exit(m.Run())
}
