package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"hamigrate/migrate"
)

// A rehearsal that was stopped says what there is now and how to go on, and
// keeps its exit code; any other error stays what it is.
func TestAStoppedRehearsalSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	for keep, want := range map[bool]string{
		true:  "; the playground is up as it is: `migrate playground down --name mine` removes it",
		false: "; the playground is taken down, and `migrate rehearse` begins with a new one",
	} {
		set := flag.NewFlagSet("rehearse", flag.ContinueOnError)
		set.Bool("keep", keep, "")
		set.String("name", "mine", "")
		c := cli.NewContext(nil, set, nil)
		c.Command = &cli.Command{Name: "rehearse"}
		stopped := fmt.Errorf("phase 1: %w", migrate.ErrStopped)
		if got := whatIsLeft(c, stopped); !errors.Is(got, migrate.ErrStopped) || !strings.HasSuffix(got.Error(), want) {
			t.Errorf("--keep=%t: %v", keep, got)
		}
		other := errors.New("another")
		if got := whatIsLeft(c, other); got != other { //nolint:errorlint // the very same
			t.Errorf("--keep=%t: %v", keep, got)
		}
		if got := whatIsLeft(c, nil); got != nil {
			t.Errorf("--keep=%t: %v out of nothing", keep, got)
		}
	}
}
