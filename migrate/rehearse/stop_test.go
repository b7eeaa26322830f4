package rehearse

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hamigrate/migrate"
	"hamigrate/migrate/playground"
)

// A rehearsal that was stopped says what there is now and how to go on, and
// keeps its exit code; any other error stays what it is.
func TestAStoppedRehearsalSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	for keep, want := range map[bool]string{
		true:  "; the playground is up as it is: `migrate playground down --name mine` removes it",
		false: "; the playground is taken down, and `migrate rehearse` begins with a new one",
	} {
		o := Options{Keep: keep, Command: "rehearse", Playground: playground.Options{Name: "mine"}}
		stopped := fmt.Errorf("phase 1: %w", migrate.ErrStopped)
		if got := o.whatIsLeft(stopped); !errors.Is(got, migrate.ErrStopped) || !strings.HasSuffix(got.Error(), want) {
			t.Errorf("--keep=%t: %v", keep, got)
		}
		other := errors.New("another")
		if got := o.whatIsLeft(other); got != other { //nolint:errorlint // the very same
			t.Errorf("--keep=%t: %v", keep, got)
		}
		if got := o.whatIsLeft(nil); got != nil {
			t.Errorf("--keep=%t: %v out of nothing", keep, got)
		}
	}
}
