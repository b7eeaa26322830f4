package etcd

import (
	"context"
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc"
)

// TestQuestionsAreToldOf until there is an answer.
func TestQuestionsAreToldOf(t *testing.T) {
	t.Parallel()
	var heard []string
	want := errors.New("no leader")
	e := Endpoint{Waits: func(what string) func() {
		heard = append(heard, what)
		return func() { heard = append(heard, "ends") }
	}}
	ask := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		heard = append(heard, "asked")
		return want
	}
	if err := e.telling(t.Context(), "/etcdserverpb.Cluster/MemberList", nil, nil, nil, ask); !errors.Is(err, want) {
		t.Error(err)
	}
	if !slices.Equal(heard, []string{"etcd's answer to MemberList", "asked", "ends"}) {
		t.Errorf("heard %q", heard)
	}
	if err := (Endpoint{}).telling(t.Context(), "/x/Y", nil, nil, nil, ask); !errors.Is(err, want) {
		t.Error(err)
	}
}
