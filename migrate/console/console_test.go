package console

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/run"
	"hamigrate/phases/certs"
	"hamigrate/phases/preflight"
	"hamigrate/state"
)

// TestSum: one line, with what was expected where it was rehearsed.
func TestSum(t *testing.T) {
	t.Parallel()
	plans := planFound(func(e *migrate.Entry) { e.Outage = 45 * time.Second })
	want := "Plan: 1 steps to do on 1 targets; expected time without an API: 45 s"
	if got := planSum(plans, true); got != want+". Nothing was changed." {
		t.Errorf("got %q", got)
	}
	run.Expect(plans, func(step migrate.StepID) time.Duration {
		return map[migrate.StepID]time.Duration{"loadbalancer/admin-conf": 90 * time.Second, "loadbalancer/nginx": 5 * time.Second}[step]
	})
	if got := planSum(plans, true); got != want+"; when rehearsed they took 1 min 30 s. Nothing was changed." {
		t.Errorf("got %q", got)
	}
	if plans[0].Entries[1].ExpectedSeconds != 0 {
		t.Error("what is done already is expected to take time")
	}
}

// TestSumOfNothing: a part in which nothing is left says nothing of the rest.
func TestSumOfNothing(t *testing.T) {
	t.Parallel()
	only, err := run.LimitTo(planFound(nil), []string{"lb1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := planSum(only, false); got != "Plan: nothing to do in what is shown." {
		t.Errorf("of a part: %q", got)
	}
	if got := planSum(only, true); got != "Plan: nothing to do; the cluster is as the spec wants it." {
		t.Errorf("of all: %q", got)
	}
}

func TestPrintCerts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	cert := func(host, file string, days int, by certs.Renewer, how string) certs.Certificate {
		return certs.Certificate{Host: host, File: file, Subject: "CN=x", Ends: now.AddDate(0, 0, days), Days: days, RenewedBy: by, How: how}
	}
	list := certs.Inventory{Certificates: []certs.Certificate{
		cert("cp1", "/etc/kubernetes/pki/etcd/server.crt", 1, certs.Unused, "nothing reads it"),
		cert("e1", "/etc/etcd/pki/server.crt", 3, certs.Nobody, certs.RenewCommand),
		cert("e2", "/etc/etcd/pki/server.crt", 20, certs.Nobody, certs.RenewCommand),
		cert("cp1", "/etc/kubernetes/pki/apiserver.crt", 200, certs.Kubeadm, "upgrade"),
	}, Unread: []certs.Unread{{Host: "e3", Why: "connection refused"}}}
	var out strings.Builder
	if err := PrintCerts(&out, &run.Session{Given: " --file x.yaml"}, list, now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		" ·  cp1   /etc/kubernetes/pki/etcd/server.crt", " ✗  e1    /etc/etcd/pki/server.crt", " !  e2 ", " ✓  cp1 ", "2026-05-04",
		"✗ e3 was not read: connection refused\n",
		"\n4 certificates, of which 2 end within 30 days.\n2 are renewed by nobody but you, the first by 2026-05-04: migrate certs renew --within 30d --file x.yaml\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	out.Reset()
	list.Certificates, list.Unread = list.Certificates[3:], nil
	if err := PrintCerts(&out, &run.Session{Given: " --file x.yaml"}, list, now); err != nil || !strings.Contains(out.String(), "That changes with phase 2.") {
		t.Errorf("%v, got\n%s", err, out.String())
	}
}

func TestPrintRenewal(t *testing.T) {
	t.Parallel()
	u := run.UnderRenewal{Within: "30d", Began: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
	entry := func(target string, v migrate.Verdict, reason string) migrate.Entry {
		return migrate.Entry{Phase: 8, Step: certs.MemberID, Title: "Renew", Target: target, Finding: migrate.Finding{Verdict: v, Reason: reason, Remedy: "put it back"}}
	}
	var out strings.Builder
	need, err := PrintRenewal(&out, u, []migrate.Entry{entry("e1", migrate.Needed, "ends on 2026-05-04, in 3 days"), entry("e2", migrate.Satisfied, "good until 2027-01-01")})
	if !need || err != nil || !strings.Contains(out.String(), "1 of 2 are to be renewed: they end within 30d of 2026-05-01.") || !strings.Contains(out.String(), "ends on 2026-05-04, in 3 days") {
		t.Errorf("%t, %v\n%s", need, err, out.String())
	}
	out.Reset()
	need, err = PrintRenewal(&out, u, []migrate.Entry{entry("e2", migrate.Satisfied, "good until 2027-01-01")})
	if need || err != nil || !strings.Contains(out.String(), "nothing is to be renewed") {
		t.Errorf("%t, %v\n%s", need, err, out.String())
	}
	_, err = PrintRenewal(&out, u, []migrate.Entry{entry("e1", migrate.Blocked, "there is no key")})
	if b := new(migrate.BlockedError); !errors.As(err, &b) || b.Target != "e1" || b.Remedy != "put it back" || run.OutcomeOf(err) != run.Blocked {
		t.Errorf("blocked: %v, exit code %d", err, run.OutcomeOf(err))
	}
}

// TestErrorsInLines: what to do stands on a line of its own, and a command in a
// long sentence as well; both are about the cluster that was named.
func TestErrorsInLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", LongSentence)
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("no route to host"), "no route to host"},
		{errors.New("`migrate status` shows it"), "`migrate status --file a.yaml` shows it"},
		{errors.New("`migrate status --file b.yaml` shows it"), "`migrate status --file b.yaml` shows it"},
		{errors.New("`migrate init root@HOST` writes one, `migrate man` too"), "`migrate init root@HOST` writes one, `migrate man` too"},
		{errors.New(long + ": `migrate certs renew --within 30d` mends it"), long + ": `migrate certs renew --file a.yaml --within 30d` mends it\n  migrate certs renew --file a.yaml --within 30d"},
		{errors.New(long + "; trust it with: ssh-keyscan -t x 192.0.2.1 >> 'known hosts' (or trust all: --accept-new-host-keys)"),
			long + "; trust it with:\n  ssh-keyscan -t x 192.0.2.1 >> 'known hosts'\n  (or trust all: --accept-new-host-keys)"},
		{errors.New(long + "; put it into an agent with: ssh-add /keys/a"), long + "; put it into an agent with:\n  ssh-add /keys/a"},
		{errors.New(long + "; see what your own ssh says: ssh -i '/x y/$(id);`a`'\\''b' 'o;id@192.0.2.1' true"),
			long + "; see what your own ssh says:\n  ssh -i '/x y/$(id);`a`'\\''b' 'o;id@192.0.2.1' true"},
		{errors.New(long + ": reading 'a: ssh -o b (c)': no: ssh x;y z"), long + ": reading 'a: ssh -o b (c)': no: ssh x;y z"},
		{errors.New(long + ": ssh is not there"), long + ": ssh is not there"},
		{errors.New(long + "; put one into an agent with: ssh-add"), long + "; put one into an agent with:\n  ssh-add"},
		{errors.New("short: ssh-add a"), "short: ssh-add a"},
		{errors.New("ada migrates this cluster (`migrate run`, journal j there). `migrate unlock` looks"), "ada migrates this cluster (`migrate run`, journal j there). `migrate unlock --file a.yaml` looks"},
		{errors.New("`migrate plan` takes no word"), "`migrate plan` takes no word"},
		{errors.New("`migrate run FILE` does it"), "`migrate run --file a.yaml FILE` does it"},
		{&migrate.BlockedError{Where: migrate.Where{Phase: 2}, Reason: "it is so", Remedy: "first: `migrate rollback --phase 3`"},
			"phase 2 is blocked: it is so\n  What to do: first: `migrate rollback --file a.yaml --phase 3`"},
		{&state.FormatError{Path: "j"}, "j is not a journal of this program, or it is damaged: name another file with --journal, or move a damaged one away and let `migrate adopt --file a.yaml` rebuild it from the cluster\n  migrate adopt --file a.yaml"},
	} {
		if got := string(Lines(c.err, " --file a.yaml")); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestPrintPreflight(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := PrintPreflight(&out, results()); err != nil {
		t.Fatal(err)
	}
	want := `✓  1  Login                 Commands run as root on every host (2 hosts)
✗  2  ClockSkew             All clocks agree
      ✗ e1: its clock is 3s ahead
          matters for phase 1, 2, 3: Certificates.
          do: set it
✓  6  MachineID             Every node has a machine ID of its own: 3 nodes have one each
! 25  EtcdSize              etcd's database is well below its quota
      ✗ cluster: it is full (ignored)
          matters for phase 2: Quota.
          do: defrag

4 checks on 3 hosts in 1.2 s: 0 warnings, 1 blocking.
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

// TestTellsForWhomARunWaits, unless the step at hand has said so.
func TestTellsForWhomARunWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		tell := Waits{&out}.Tell
		wait := remote.Wait{Host: "cp2", For: "reading /etc/kubernetes/manifests", Lasts: 7 * time.Second}
		tell(wait)
		const want = "00:00:00Z still waiting for cp2: reading /etc/kubernetes/manifests (7 s)\n"
		if got := out.String(); got[9:] != want[9:] {
			t.Errorf("printed %q", got)
		}
		out.Reset()
		bar := NewProgress(&out)
		tell = bar.Waits
		bar.Event(migrate.Event{Kind: migrate.EventStepStarted})
		out.Reset()
		tell(wait)
		if got := out.String(); len(got) < 9 || got[9:] != want[9:] {
			t.Errorf("a run printed %q", got)
		}
		bar.Event(migrate.Event{Kind: migrate.EventStepWaiting, WaitsFor: "the kubelet"})
		out.Reset()
		tell(wait)
		if out.Len() > 0 {
			t.Errorf("printed %q beside the step's own words", out.String())
		}
	})
}

// results are what the tests here print.
func results() preflight.Report {
	return preflight.Report{Hosts: []string{"cp1", "e1", "e2"}, Seconds: 1.25, Results: []preflight.Result{
		{Number: 1, Check: "Login", Host: "cp1", Severity: preflight.OK, Seen: "its facts were read as root", Phases: []int{1, 2, 3}},
		{Number: 1, Check: "Login", Host: "e1", Severity: preflight.OK, Seen: "its facts were read as root", Phases: []int{2, 3}},
		{Number: 2, Check: "ClockSkew", Host: "e1", Severity: preflight.Blocking, Seen: "its clock is 3s ahead", Phases: []int{1, 2, 3}, Why: "Certificates.", Remedy: "set it"},
		{Number: 6, Check: "MachineID", Host: "cluster", Severity: preflight.OK, Seen: "3 nodes have one each", Phases: []int{1}},
		{Number: 25, Check: "EtcdSize", Host: "cluster", Severity: preflight.Blocking, Seen: "it is full", Phases: []int{2}, Why: "Quota.", Remedy: "defrag", Ignored: true},
	}}
}

// planFound is a plan of one phase with two steps: one to be done, one done.
func planFound(change func(*migrate.Entry)) []run.PhasePlan {
	needed := migrate.Entry{Phase: 1, Step: "loadbalancer/admin-conf", Target: "cp1", Recorded: state.Pending, Finding: migrate.Finding{
		Verdict: migrate.Needed, Reason: "it names the old address",
		Changes: []migrate.Change{{Object: "cp1:/etc/kubernetes/admin.conf", Before: "server: https://10.0.0.1:6443\n", After: "server: https://10.0.0.5:6443\n"}},
	}}
	if change != nil {
		change(&needed)
	}
	return []run.PhasePlan{{Phase: 1, Name: "loadbalancer", Entries: []migrate.Entry{needed, {
		Phase: 1, Step: "loadbalancer/nginx", Target: "lb1", Recorded: state.Pending, Finding: migrate.Finding{Verdict: migrate.Satisfied, Reason: "nginx is there"},
	}}}}
}
