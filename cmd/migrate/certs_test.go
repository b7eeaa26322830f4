package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate"
	"hamigrate/phases/certs"
	"hamigrate/state"
)

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
	if err := printCerts(&out, &session{given: " --file x.yaml"}, list, now); err != nil {
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
	if err := printCerts(&out, &session{given: " --file x.yaml"}, list, now); err != nil || !strings.Contains(out.String(), "That changes with phase 2.") {
		t.Errorf("%v, got\n%s", err, out.String())
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "0d": 0, "90m": 90 * time.Minute, "720h": 720 * time.Hour} {
		if got, err := days(text); got != want || err != nil {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "36501d", "-2h", "soon"} {
		if got, err := days(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

// TestChooseRenewal: one that is under way goes on as it was begun, one that is
// done is followed by another.
func TestChooseRenewal(t *testing.T) {
	t.Parallel()
	j, err := state.Open(filepath.Join(t.TempDir(), "journal"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if _, err := chooseRenewal(j, false, "30d", true, now); err == nil {
		t.Error("there is nothing to undo, and it is undone")
	}
	first, err := chooseRenewal(j, true, "60d", false, now)
	if err != nil || first.ID != "renewal-20260501t120000z" || first.Within != "60d" || !first.Began.Equal(now) {
		t.Fatalf("%+v, %v", first, err)
	}
	if err := j.PutBlob(renewalBlob, first); err != nil {
		t.Fatal(err)
	}
	later := now.Add(time.Hour)
	if again, err := chooseRenewal(j, false, "30d", false, later); err != nil || again.ID != first.ID || again.Within != "60d" {
		t.Errorf("resumed: %+v, %v", again, err)
	}
	if _, err := chooseRenewal(j, true, "30d", false, later); err == nil || !strings.Contains(err.Error(), "within 60d of 2026-05-01 is under way") {
		t.Errorf("another time: %v", err)
	}
	first.Done = later
	if err := j.PutBlob(renewalBlob, first); err != nil {
		t.Fatal(err)
	}
	if next, err := chooseRenewal(j, false, "30d", false, later); err != nil || next.ID == first.ID {
		t.Errorf("the next: %+v, %v", next, err)
	}
	if last, err := chooseRenewal(j, false, "30d", true, later); err != nil || last.ID != first.ID {
		t.Errorf("to be undone: %+v, %v", last, err)
	}
}

// TestEndedRenewal: it says "Renewed" of nothing that it has not renewed, and
// the one that follows looks from its own day on.
func TestEndedRenewal(t *testing.T) {
	t.Parallel()
	began, now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for within, want := range map[string]string{"30d": "30d", "7d": "7d", "400d": "30d"} {
		u := newRenewal(within, began)
		o, err := u.options()
		if err != nil {
			t.Fatal(err)
		}
		if got := ended(u, o, false); got != "The renewal of 2026-05-01 is ended: nothing was left of it." {
			t.Errorf("nothing was renewed: %s", got)
		}
		if got := ended(u, o, true); !strings.HasPrefix(got, "Renewed. ") || !strings.Contains(got, u.ID) {
			t.Errorf("renewed: %s", got)
		}
		next, err := followUp(u, now)
		if err != nil || next.Within != want || !next.Began.Equal(now) || next.ID == u.ID {
			t.Errorf("after one within %s: %+v, %v", within, next, err)
		}
	}
}

func TestPrintRenewal(t *testing.T) {
	t.Parallel()
	u := underRenewal{Within: "30d", Began: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
	entry := func(target string, v migrate.Verdict, reason string) migrate.Entry {
		return migrate.Entry{Phase: 8, Step: certs.MemberID, Title: "Renew", Target: target, Finding: migrate.Finding{Verdict: v, Reason: reason, Remedy: "put it back"}}
	}
	var out strings.Builder
	need, err := printRenewal(&out, u, []migrate.Entry{entry("e1", migrate.Needed, "ends on 2026-05-04, in 3 days"), entry("e2", migrate.Satisfied, "good until 2027-01-01")})
	if !need || err != nil || !strings.Contains(out.String(), "1 of 2 are to be renewed: they end within 30d of 2026-05-01.") || !strings.Contains(out.String(), "ends on 2026-05-04, in 3 days") {
		t.Errorf("%t, %v\n%s", need, err, out.String())
	}
	out.Reset()
	need, err = printRenewal(&out, u, []migrate.Entry{entry("e2", migrate.Satisfied, "good until 2027-01-01")})
	if need || err != nil || !strings.Contains(out.String(), "nothing is to be renewed") {
		t.Errorf("%t, %v\n%s", need, err, out.String())
	}
	_, err = printRenewal(&out, u, []migrate.Entry{entry("e1", migrate.Blocked, "there is no key")})
	if b := new(migrate.BlockedError); !errors.As(err, &b) || b.Target != "e1" || b.Remedy != "put it back" || exitCode(err) != 3 {
		t.Errorf("blocked: %v, exit code %d", err, exitCode(err))
	}
}
