package redirect

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func example() Redirect {
	return Redirect{Table: Table{Name: "migrate_overlap"}, From: []string{"10.88.0.11:6443", "10.96.0.1:443"}, To: "10.88.0.11:6444"}
}

// leaving is one to another host.
func leaving() Redirect {
	return Redirect{Table: Table{Name: "migrate_leaving", Masquerade: true}, From: []string{"10.88.0.12:6443", "10.96.0.1:443"}, To: "10.88.0.11:6443"}
}

func TestNft(t *testing.T) {
	t.Parallel()
	got, err := example().NFT()
	if err != nil {
		t.Fatal(err)
	}
	const want = `add table ip migrate_overlap
delete table ip migrate_overlap
table ip migrate_overlap {
  chain arriving { type nat hook prerouting priority -110; policy accept; ip daddr 10.88.0.11 tcp dport 6443 dnat to 10.88.0.11:6444; ip daddr 10.96.0.1 tcp dport 443 dnat to 10.88.0.11:6444; }
  chain local { type nat hook output priority -110; policy accept; ip daddr 10.88.0.11 tcp dport 6443 dnat to 10.88.0.11:6444; ip daddr 10.96.0.1 tcp dport 443 dnat to 10.88.0.11:6444; }
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestIptables(t *testing.T) {
	t.Parallel()
	got, err := example().iptables()
	if err != nil {
		t.Fatal(err)
	}
	const want = `for c in PREROUTING OUTPUT; do while iptables -w -t nat -D $c -j migrate_overlap 2>/dev/null; do :; done; done
iptables -w -t nat -F migrate_overlap 2>/dev/null || true; iptables -w -t nat -X migrate_overlap 2>/dev/null || true
iptables -w -t nat -N migrate_overlap
iptables -w -t nat -A migrate_overlap -p tcp -d 10.88.0.11 --dport 6443 -j DNAT --to-destination 10.88.0.11:6444
iptables -w -t nat -A migrate_overlap -p tcp -d 10.96.0.1 --dport 443 -j DNAT --to-destination 10.88.0.11:6444
iptables -w -t nat -I PREROUTING 1 -j migrate_overlap
iptables -w -t nat -I OUTPUT 1 -j migrate_overlap
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader("set -e\n" + got)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sh -n: %v: %s", err, out)
	}
}

// TestMasquerade: what is sent to another host has to come back by this one.
func TestMasquerade(t *testing.T) {
	t.Parallel()
	nft, err := leaving().NFT()
	if err != nil {
		t.Fatal(err)
	}
	const wantNFT = `add table ip migrate_leaving
delete table ip migrate_leaving
table ip migrate_leaving {
  chain arriving { type nat hook prerouting priority -110; policy accept; ip daddr 10.88.0.12 tcp dport 6443 dnat to 10.88.0.11:6443; ip daddr 10.96.0.1 tcp dport 443 dnat to 10.88.0.11:6443; }
  chain local { type nat hook output priority -110; policy accept; ip daddr 10.88.0.12 tcp dport 6443 dnat to 10.88.0.11:6443; ip daddr 10.96.0.1 tcp dport 443 dnat to 10.88.0.11:6443; }
  chain onward { type nat hook postrouting priority 90; policy accept; ip daddr 10.88.0.11 tcp dport 6443 ct status dnat masquerade; }
}
`
	if diff := cmp.Diff(wantNFT, nft); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	iptables, err := leaving().iptables()
	if err != nil {
		t.Fatal(err)
	}
	const wantIptables = `for c in PREROUTING OUTPUT; do while iptables -w -t nat -D $c -j migrate_leaving 2>/dev/null; do :; done; done
while iptables -w -t nat -D POSTROUTING -j migrate_leaving_onward 2>/dev/null; do :; done
iptables -w -t nat -F migrate_leaving 2>/dev/null || true; iptables -w -t nat -X migrate_leaving 2>/dev/null || true
iptables -w -t nat -F migrate_leaving_onward 2>/dev/null || true; iptables -w -t nat -X migrate_leaving_onward 2>/dev/null || true
iptables -w -t nat -N migrate_leaving
iptables -w -t nat -N migrate_leaving_onward
iptables -w -t nat -A migrate_leaving -p tcp -d 10.88.0.12 --dport 6443 -j DNAT --to-destination 10.88.0.11:6443
iptables -w -t nat -A migrate_leaving -p tcp -d 10.96.0.1 --dport 443 -j DNAT --to-destination 10.88.0.11:6443
iptables -w -t nat -A migrate_leaving_onward -p tcp -d 10.88.0.11 --dport 6443 -m conntrack --ctstate DNAT -j MASQUERADE
iptables -w -t nat -I POSTROUTING 1 -j migrate_leaving_onward
iptables -w -t nat -I PREROUTING 1 -j migrate_leaving
iptables -w -t nat -I OUTPUT 1 -j migrate_leaving
`
	if diff := cmp.Diff(wantIptables, iptables); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRedirectRefusesAddressesWithoutPort(t *testing.T) {
	t.Parallel()
	for _, r := range []Redirect{
		{From: []string{"10.88.0.11", "10.96.0.1:443"}, To: "10.88.0.11:6444"},
		{From: []string{"10.88.0.11:6443", "10.96.0.1"}, To: "10.88.0.11:6444"},
		{From: []string{""}, To: ""},
		{Table: Table{Masquerade: true}, From: []string{"10.88.0.12:6443"}, To: "10.88.0.11"},
		{From: []string{"10.88.0.11:6443"}, To: "10.88.0.11"},
	} {
		if got, err := r.NFT(); err == nil {
			t.Errorf("%+v: nft gave %s", r, got)
		}
		if got, err := r.iptables(); err == nil {
			t.Errorf("%+v: iptables gave %s", r, got)
		}
	}
}
