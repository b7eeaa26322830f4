package run

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/phases/restore"
)

// TestUnfinishedRestore: a restore that found another quorum does not go on,
// and says how what it stopped is put back.
func TestUnfinishedRestore(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		code int
	}{
		{&migrate.BlockedError{Where: migrate.Where{Phase: restore.Number}, Err: fmt.Errorf("still so: %w", restore.ErrOtherQuorum)}, "systemctl enable --now etcd.service", 3},
		{&migrate.StepError{Op: migrate.OpInvariants, Err: restore.ErrOtherQuorum}, "systemctl enable --now etcd.service", 1},
		{migrate.ErrStopped, "stopped halfway", 4},
		{errors.New("no route to host"), "`migrate restore` goes on with it", 1},
	} {
		err := unfinished(c.err)
		if !strings.Contains(err.Error(), c.want) || code(err) != c.code {
			t.Errorf("%v: said as %v with exit status %d", c.err, err, code(err))
		}
		if errors.Is(c.err, restore.ErrOtherQuorum) && strings.Contains(err.Error(), "goes on") {
			t.Errorf("it is said to go on: %v", err)
		}
	}
}
