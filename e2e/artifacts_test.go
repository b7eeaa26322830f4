package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// keepArtifacts writes what helps to understand a failure into the folder of
// the transcripts. What cannot be had is written down as such: a second
// failure must not hide the first.
func (s *scenario) keepArtifacts(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var done sync.WaitGroup
	keep := func(name string, get func() (string, error)) {
		done.Go(func() {
			text, err := get()
			if err != nil {
				text += fmt.Sprintf("\n(%v)\n", err)
			}
			if err := os.WriteFile(filepath.Join(s.out, name), []byte(text), 0o600); err != nil {
				t.Logf("keeping %s: %v", name, err)
			}
		})
	}
	keep("e2e.journal", func() (string, error) {
		data, err := os.ReadFile(s.journal)
		return string(data), err
	})
	for name, h := range s.pg.hosts {
		keep("host-"+name+".log", func() (string, error) {
			return h.run(ctx, `systemctl --failed --no-pager; ss -tlnp; ps -eo pid,user,lstart,args; journalctl -b --no-pager -n 3000 -o short-precise
for f in /var/log/nginx/error.log /var/log/pods/kube-system_*/*/*.log; do [ -f "$f" ] && { echo "== $f"; tail -n 200 "$f"; }; done; true`)
		})
	}
	for _, name := range controlPlanes() {
		keep("cluster-as-"+name+"-sees-it.txt", func() (string, error) {
			return s.pg.hosts[name].run(ctx, `for c in "get nodes -o wide" "get pods -A -o wide" "get events -A --sort-by=.lastTimestamp" "get cm -n kube-system kubeadm-config -o yaml"; do
echo "== kubectl $c"; kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://`+s.pg.api(name)+` --request-timeout 10s $c 2>&1; done; true`)
		})
	}
	done.Wait()
	t.Logf("transcripts, journal and the hosts' logs are in %s", s.out)
}
