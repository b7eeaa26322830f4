package playbooks

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate"

	"github.com/google/go-cmp/cmp"
)

type step = migrate.Step[int, int]

func data() Data {
	return Data{Balancer: "nginx", Topology: "external", EtcdBinary: "preinstalled", Cluster: "prod", Endpoint: "lb:6443", First: Host{"cp1", "10.88.0.11"},
		Targets: map[migrate.Selector][]Host{migrate.EtcdHosts: {{"e1", "10.88.0.21"}, {"e2", "10.88.0.22"}}}}
}

func render(t *testing.T, steps ...step) string {
	t.Helper()
	var b strings.Builder
	if err := Render(&b, migrate.Phase[int, int]{Number: 2, Title: "T", Why: "W.", Steps: steps}, data()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Neighbours that roll are done host by host, others step by step.
func TestRenderOrder(t *testing.T) {
	t.Parallel()
	s := func(id string, rolling bool, on migrate.Selector) step {
		return step{ID: migrate.StepID(id), Title: id, On: on, Rolling: rolling, ByHand: "do " + id + " on {{.Target}} {{.Address}}\n"}
	}
	out := render(t, s("a", false, migrate.EtcdHosts), s("b", true, migrate.EtcdHosts), s("c", true, migrate.EtcdHosts), s("d", false, migrate.FirstControlPlane))
	var got []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "## ") || strings.HasPrefix(line, "do ") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{"## 1. a", "do a on e1 10.88.0.21", "do a on e2 10.88.0.22",
		"## 2. b", "do b on e1 10.88.0.21", "## 3. c", "do c on e1 10.88.0.21", "## 4. b", "do b on e2 10.88.0.22", "## 5. c", "do c on e2 10.88.0.22",
		"## 6. d", "do d on cp1 10.88.0.11"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRenderParagraph(t *testing.T) {
	t.Parallel()
	out := render(t, step{ID: "a", Title: "A", Why: "Because.", On: migrate.EtcdHosts, ByHand: "the same everywhere\n", Outage: 45 * time.Second})
	if strings.Count(out, "the same everywhere") != 1 {
		t.Error("commands that do not name their host are there more than once")
	}
	for _, want := range []string{"# Phase 2: T\n", "Cluster prod, endpoint lb:6443.", "On e1 (10.88.0.21), e2 (10.88.0.22), one after the other. Because. **The API is away for up to 45 seconds.**\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if out := render(t, step{ID: "a", On: migrate.Once}); !strings.Contains(out, "Once, for the cluster, from cp1.") || strings.Contains(out, "away") {
		t.Errorf("got\n%s", out)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

var errBroken = errors.New("broken")

func TestRenderErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{{", "{{.Nobody}}", "{{.First.Nobody}}"} {
		var b strings.Builder
		err := Render(&b, migrate.Phase[int, int]{Steps: []step{{ID: "x/y", On: migrate.Once, ByHand: text}}}, data())
		if err == nil || !strings.Contains(err.Error(), "x/y") || b.Len() > 0 {
			t.Errorf("%s: %v, and %d bytes written", text, err, b.Len())
		}
	}
	if err := Render(broken{}, migrate.Phase[int, int]{}, data()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}
