package support

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/cluster"
)

// TestHostsThatAreCalledAsAliases: each name is replaced once, by what is nobody's name.
func TestHostsThatAreCalledAsAliases(t *testing.T) {
	t.Parallel()
	host := func(name, address string) cluster.Host { return cluster.Host{Name: name, Address: address} }
	spec := cluster.Spec{}
	spec.ControlPlane.First = host("host-2", "192.0.2.1")
	spec.ControlPlane.Joining = []cluster.Host{host("host-1", "192.0.2.2"), host("host", "192.0.2.3"), host("1", "192.0.2.4")}
	a := aliasesOf(spec, "address@machine")
	const want = "anon-host-1 anon-host-2,anon-host-2,anon-host-1 anon-host-3-x anon-address-1 anon-user-1"
	for range 2 {
		if got := a.in("host-2 host-1,host-1,host-2 host-x 192.0.2.1 address"); got != want {
			t.Errorf("%s\nwanted %s", got, want)
		}
	}
	spec.ControlPlane.First.Name = "x-anon-user-7"
	if got := aliasesOf(spec, "ada@machine").in("host-1 \U000F0000"); got != "anon-anon-host-2 \uFFFD" {
		t.Error(got)
	}
}

// TestALookThatHangsIsGivenUp, also one that does not listen.
func TestALookThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	never := make(chan struct{})
	defer close(never)
	_, err := inTime(ctx, func(context.Context) (any, error) { <-never; return nil, nil })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "time was over") {
		t.Error(err)
	}
}
