package cluster

import (
	"encoding/json"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hamigrate/internal/within"
)

// FuzzSpec: a spec is refused with sentences that name a line of the file, or
// it is one that the phases can work with, and the same when it is written again.
func FuzzSpec(f *testing.F) {
	for _, name := range []string{"full.yaml", "minimal.yaml"} {
		f.Add(string(read(f, name)))
	}
	minimal := string(read(f, "minimal.yaml"))
	for _, r := range refusals(f) {
		f.Add(strings.Replace(minimal, r.replace, r.with, 1))
	}
	f.Add("\ufeff" + minimal)
	// Little beyond the bounds: what outside software makes of more is not ours.
	f.Add("a: " + strings.Repeat("[", 70))
	f.Add("a: " + strings.Repeat("{a: ", 70))
	f.Add(strings.Repeat("- ", 70))
	f.Add(strings.Repeat("- a\n", 7_000))
	f.Fuzz(func(t *testing.T, text string) {
		var spec Spec
		var err error
		within.Bounds(t, func() { spec, err = parse("/fuzz/migrate.yaml", []byte(text), "/home/ops") })
		if err != nil {
			refusedWell(t, err, strings.Count(text, "\n")+strings.Count(text, "\r")+1)
			return
		}
		usable(t, spec)
		again, err := parse("/fuzz/migrate.yaml", rendered(t, spec), "/home/ops")
		if err != nil {
			t.Fatalf("written again, it is refused: %v", err)
		}
		// The fingerprint is of etcd.binary as it was written.
		if diff := cmp.Diff(spec, again, cmpopts.IgnoreFields(Spec{}, "Fingerprint")); diff != "" {
			t.Errorf("written again, it means something else:\n%s", diff)
		}
		twice, err := parse("/fuzz/migrate.yaml", []byte(text+"\n# a comment\n"), "/home/ops")
		if err == nil && twice.Fingerprint != spec.Fingerprint {
			t.Error("a comment changes the fingerprint")
		}
	})
}

// TestBoundsOfASpec: what is beyond them is refused by our own sentence, before
// the parser gets it.
func TestBoundsOfASpec(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		strings.Repeat("- a\n", 7_000):         "/fuzz/migrate.yaml:1: has 14000 words and marks",
		"a:\n  b: " + strings.Repeat("[", 70):  "/fuzz/migrate.yaml:2: is nested deeper than 64",
		"\n\n" + strings.Repeat("- ", 70):      "/fuzz/migrate.yaml:3: is nested deeper than 64",
		"a: " + strings.Repeat("[{a: ", 40):    "/fuzz/migrate.yaml:1: is nested deeper than 64",
		strings.Repeat("a", maxSize) + ": b\n": "/fuzz/migrate.yaml:1: has 262148 bytes",
	} {
		if _, err := parse("/fuzz/migrate.yaml", []byte(text), ""); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q…: %v, want %q", text, err, want)
		}
	}
}

func refusedWell(t *testing.T, err error, lines int) {
	t.Helper()
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, one := range all {
		field, ok := one.(*FieldError)
		switch {
		case !ok:
			t.Errorf("it names no field: %v", one)
		case field.File != "/fuzz/migrate.yaml" || field.Line < 1 || field.Line > lines || field.Problem == "":
			t.Errorf("it names no place in a file of %d lines: %+v", lines, field)
		}
	}
}

// usable is what the phases take for granted.
func usable(t *testing.T, s Spec) {
	t.Helper()
	all := append([]Host{s.ControlPlane.First}, s.ControlPlane.Joining...)
	all = append(append(append(all, s.Etcd.Hosts...), s.LoadBalancer.Hosts...), s.Workers...)
	names, addresses := map[string]bool{}, map[string]bool{}
	for _, h := range all {
		addr, err := netip.ParseAddr(h.Address)
		if err != nil || unreachable(addr) != "" || names[h.Name] || addresses[h.Address] || h.Name == "" {
			t.Errorf("host %+v", h)
		}
		if h.SSH.Port < 0 || h.SSH.Port > 65535 || strings.HasPrefix(h.SSH.User, "-") || h.SSH.Timeout <= 0 {
			t.Errorf("ssh of %s: %+v", h.Name, h.SSH)
		}
		names[h.Name], addresses[h.Address] = true, true
	}
	if n := len(s.Etcd.Hosts); n != 3 && n != 5 {
		t.Errorf("%d etcd hosts", n)
	}
	if s.Endpoint.Host == "" || s.Endpoint.Port < 1 || s.Endpoint.Port > 65535 || len(s.ControlPlane.Joining) < 2 || s.Name == "" {
		t.Errorf("spec %+v", s)
	}
}

// rendered writes a spec as JSON, which is YAML too.
func rendered(t *testing.T, s Spec) []byte {
	t.Helper()
	ssh := func(s SSH) map[string]any {
		out := map[string]any{"become": s.Become, "timeout": s.Timeout.String()}
		for key, value := range map[string]string{"user": s.User, "identityFile": s.IdentityFile, "knownHostsFile": s.KnownHostsFile, "address": s.Address} {
			if value != "" {
				out[key] = value
			}
		}
		if s.Port != 0 {
			out["port"] = s.Port
		}
		return out
	}
	host := func(h Host) map[string]any {
		return map[string]any{"name": h.Name, "address": h.Address, "ssh": ssh(h.SSH)}
	}
	hosts := func(list []Host) []any {
		out := []any{}
		for _, h := range list {
			out = append(out, host(h))
		}
		return out
	}
	balancer := map[string]any{"kind": s.LoadBalancer.Kind}
	if s.LoadBalancer.Hosts != nil {
		balancer["hosts"] = hosts(s.LoadBalancer.Hosts)
	}
	plane := map[string]any{"first": host(s.ControlPlane.First), "joining": hosts(s.ControlPlane.Joining)}
	join := map[string]any{}
	if p := s.ControlPlane.Join.Patches; p != "" {
		join["patches"] = p
	}
	if p := s.ControlPlane.Join.IgnorePreflightErrors; p != nil {
		join["ignorePreflightErrors"] = p
	}
	if len(join) > 0 {
		plane["join"] = join
	}
	body := map[string]any{
		"endpoint": net.JoinHostPort(s.Endpoint.Host, strconv.Itoa(s.Endpoint.Port)), "ssh": ssh(s.SSH), "loadBalancer": balancer,
		"etcd":         map[string]any{"topology": s.Etcd.Topology, "hosts": hosts(s.Etcd.Hosts), "binary": s.Etcd.Binary},
		"controlPlane": plane,
	}
	if s.Workers != nil {
		body["workers"] = hosts(s.Workers)
	}
	data, err := json.Marshal(map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": s.Name}, "spec": body})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
