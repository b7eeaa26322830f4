package apiserver

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestEachPath: all paths are asked, never more than atOnce at the same time,
// and each error is told, in the order of the paths.
func TestEachPath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var paths []Path
		for i := range 3 * atOnce {
			paths = append(paths, Path{From: fmt.Sprintf("w%02d", i), Pod: i%2 == 1})
		}
		var mu sync.Mutex
		asked, now, most := 0, 0, 0
		err := EachPath(paths, func(p Path) error {
			mu.Lock()
			asked, now = asked+1, now+1
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second) // all that may run beside it have begun
			mu.Lock()
			now--
			mu.Unlock()
			if p.From == "w03" || p.From == "w20" {
				return errors.New(p.String())
			}
			return nil
		})
		if asked != len(paths) || most != atOnce {
			t.Errorf("%d of %d paths were asked, %d at the same time", asked, len(paths), most)
		}
		if err == nil || strings.ReplaceAll(err.Error(), "\n", ", ") != "from a pod on w03, from w20" {
			t.Errorf("the error is %v", err)
		}
	})
}
