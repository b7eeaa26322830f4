package overlap

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func example() redirect { return redirect{address: "10.88.0.11:6443", service: "10.96.0.1:443"} }

func TestNft(t *testing.T) {
	t.Parallel()
	got, err := example().nft()
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

func TestRedirectRefusesAddressesWithoutPort(t *testing.T) {
	t.Parallel()
	for _, r := range []redirect{{"10.88.0.11", "10.96.0.1:443"}, {"10.88.0.11:6443", "10.96.0.1"}, {"", ""}} {
		if got, err := r.nft(); err == nil {
			t.Errorf("%+v: nft gave %s", r, got)
		}
		if got, err := r.iptables(); err == nil {
			t.Errorf("%+v: iptables gave %s", r, got)
		}
	}
	if p, err := example().port(); err != nil || p != 6443 {
		t.Errorf("port = %d, %v", p, err)
	}
}
