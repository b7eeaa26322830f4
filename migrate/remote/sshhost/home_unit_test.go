package sshhost

import (
	"os/user"
	"testing"
)

// A service user has no HOME: the user database has its folder.
func TestHomeOfAService(t *testing.T) {
	u, err := user.Current()
	if err != nil || u.HomeDir == "" {
		t.Skip("the user database does not know who runs this test")
	}
	t.Setenv("HOME", "")
	if home, err := homeOf(Options{}); err != nil || home != u.HomeDir {
		t.Errorf("%q, %v; the user database has %q", home, err, u.HomeDir)
	}
}
