package initlook

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"hamigrate/migrate/initspec"
)

// TestAskMembers: only where a Node is not recognised hosts are asked, and
// those that say nothing are named.
func TestAskMembers(t *testing.T) {
	t.Parallel()
	found := initspec.Found{First: initspec.Node{Name: "cp1", Address: "10.88.0.11"}, Workers: []initspec.Node{{Name: "w1", Address: "10.88.0.31"}}}
	member := func(name, address string) initspec.Member { return initspec.Member{Name: name, SSHAddress: address} }
	var mu sync.Mutex
	var asked []string
	ask := func(_ context.Context, m initspec.Member) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, m.Name)
		if m.Name == "b" {
			return []string{"10.88.0.31"}, nil
		}
		return nil, errors.New("no route to host")
	}
	g := &initspec.Groups{ReachedName: "a", Others: []initspec.Group{{Name: "boxes", Members: []initspec.Member{
		member("a", "203.0.113.1"), member("b", "203.0.113.2"), member("c", "203.0.113.3")}}}}
	askMembers(t.Context(), g, found, ask)
	slices.Sort(asked)
	if !slices.Equal(asked, []string{"b", "c"}) || !g.Others[0].Members[1].Is(found.Workers[0]) || !g.Others[0].Members[1].Asked || g.Others[0].Members[2].Asked {
		t.Errorf("asked %v: %+v", asked, g.Others)
	}
	if len(g.Notes) != 1 || !strings.Contains(g.Notes[0], "could not be asked for their addresses by SSH, and so not be recognised, if they are Nodes: c") {
		t.Errorf("%q", g.Notes)
	}
	asked = nil
	askMembers(t.Context(), g, found, ask)
	if asked != nil {
		t.Errorf("every Node is known, and %v were asked", asked)
	}
}
