package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"hamigrate/phases/balancer"
)

// TestIsBack: which addresses are the old meaning of the name, and which are only
// by the record.
func TestIsBack(t *testing.T) {
	t.Parallel()
	people := map[string]string{"10.0.0.11": "cp1", "10.0.0.31": "w1"}
	firsts := []string{"10.0.0.11", "2001:db8::11", "172.17.0.1"}
	old := nameRecord{Meant: map[string][]string{"cp1": {"127.0.1.1"}, "w1": {"203.0.113.11"}, "w2": {"127.0.0.1"}}}
	for title, tt := range map[string]struct {
		node      string
		addresses []string
		is, known bool
	}{
		"its Node's":                        {"w1", []string{"10.0.0.11"}, true, true},
		"one of IPv6 that no Node lists":    {"w1", []string{"10.0.0.11", "2001:db8::11"}, true, true},
		"itself":                            {"cp1", []string{"127.0.1.1"}, true, true},
		"translated":                        {"w1", []string{"203.0.113.11"}, true, false},
		"translated, of a node that joined": {"w3", []string{"203.0.113.11"}, true, false},
		"a proxy on the node":               {"w2", []string{"127.0.0.1"}, true, false},
		"another's proxy":                   {"w1", []string{"127.0.0.1"}, false, false},
		"the load balancer":                 {"w1", []string{"10.0.0.5"}, false, false},
		"both":                              {"w1", []string{"10.0.0.11", "10.0.0.5"}, false, false},
		"a bridge of the node's own":        {"w1", []string{"172.17.0.1"}, false, false},
		"unknown":                           {"w1", []string{"203.0.113.99"}, false, false},
		"nothing":                           {"w1", nil, false, true},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			m := Meaning{Node: tt.node, Addresses: tt.addresses, own: []string{"172.17.0.1"}, balanced: map[string]bool{"10.0.0.5": true}}
			if is, known := m.isBack("cp1", people, firsts, old); is != tt.is || is && known != tt.known {
				t.Errorf("it is %t, known %t", is, known)
			}
		})
	}
}

// TestCountSays: only a count that was made says that no load balancer is in it.
func TestCountSays(t *testing.T) {
	t.Parallel()
	if got := countSays(fmt.Errorf("lb1: %w", balancer.NotRisenError{Text: "40 are there"})); got != "" {
		t.Errorf("counted, and not among them: %q", got)
	}
	if got := countSays(nil); got != throughBalancer {
		t.Errorf("among them: %q", got)
	}
	for _, err := range []error{errors.New("lb1 does not answer"), context.DeadlineExceeded} {
		if got := countSays(err); !strings.Contains(got, "not known") || !strings.Contains(got, err.Error()) {
			t.Errorf("%v: %q", err, got)
		}
	}
}
