package preflight

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/rights"
	"hamigrate/phases"
)

// Facts are what one command reads of a host. What a host does not tell, a
// program that is not installed for one, is empty, and no check takes that
// for an answer.
type Facts struct {
	host string
	role migrate.Selector

	Arch      string
	MachineID string
	// Memory in KiB: all of it, and what is left; APIServer is the most that
	// one kube-apiserver uses.
	Memory, MemoryLeft, APIServer int
	Swap                          []string          // devices and files
	Free                          map[string]int    // KiB, by folder
	Inotify                       [2]int            // instances a user may have, and how many there are
	Addresses                     []string          // IPv4, of the host itself: no bridges of containers
	Listening                     []string          // addr:port, as ss prints them
	Kubelet, Kubeadm              string            // "v1.36.3"
	Manifests                     []string          // file names in the kubelet's folder
	Proxy                         map[string]string // of the kubelet: variable to value; of proxies only that they are set
	Resolved                      []string          // what the endpoint's name leads to
	Certificates                  []certificate
	Conntrack                     bool // the tool is there
	Clock                         clock
}

// clock is how far a host's clock is from ours, and how sure that is.
type clock struct{ ahead, unsure time.Duration }

// factsScript prints each fact below a line with its name. Of certificates it
// prints no keys, and of proxies no addresses: they may hold passwords. The
// certificates' folder is that of the key that signs service accounts' tokens.
const factsScript = `{
echo @@arch; uname -m
echo @@machine-id; cat /etc/machine-id
echo @@memory; cat /proc/meminfo
echo @@apiserver; ps -C kube-apiserver -o rss=
echo @@swap; cat /proc/swaps
for d in /var/lib /etc; do echo "@@disk $d"; df -Pk "$d"; done
echo @@inotify; cat /proc/sys/fs/inotify/max_user_instances; ` + rights.Instances + ` | wc -l
echo @@addresses; ip -o -4 addr show scope global
%secho @@listening; ss -Hltn
echo @@conntrack; command -v conntrack
echo @@kubelet; kubelet --version
echo @@kubeadm; kubeadm version -o short
echo @@manifests; ls /etc/kubernetes/manifests
echo @@proxy; for d in /proc/[0-9]*; do
IFS= read -r name <"$d/comm" && [ "$name" = kubelet ] || continue
cat "$d/environ" | tr '\0' '\n' | sed -n 's/^\([hH][tT][tT][pP][sS]*_[pP][rR][oO][xX][yY]\)=..*$/\1=set/p'
cat "$d/environ" | tr '\0' '\n' | sed -n 's/^\([nN][oO]_[pP][rR][oO][xX][yY]=.*\)$/\1/p'
done
%secho @@certificates; pki=$(sed -n 's|^ *- --service-account-signing-key-file=\(.*\)/[^/]*$|\1|p' /etc/kubernetes/manifests/kube-apiserver.yaml); pki=${pki:-/etc/kubernetes/pki}
for f in "$pki"/*.crt "$pki"/etcd/*.crt /etc/etcd/pki/*.crt /var/lib/kubelet/pki/kubelet-client-current.pem; do
[ -e "$f" ] || continue
echo "@@certificate $f"; sed -n '/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p' "$f"
done
for f in /etc/kubernetes/*.conf; do
[ -e "$f" ] || continue
echo "@@kubeconfig $f"; sed -n 's/^ *client-certificate-data: *\(.*\)$/\1/p' "$f"
done
echo @@end
} 2>/dev/null
:`

// readFacts connects, asks for the time and reads the facts.
func readFacts(ctx context.Context, v phases.Reader) (*Facts, error) {
	host := v.On(v.Target())
	c, err := readClock(ctx, host)
	if err != nil {
		return nil, err
	}
	resolve := ""
	if name := v.Spec().Endpoint.Host; net.ParseIP(name) == nil {
		resolve = "echo @@resolve; getent ahostsv4 " + remote.Quote(name) + "\n"
	}
	out, err := host.Look(ctx, remote.Command{Script: fmt.Sprintf(factsScript, awaitOthers(), resolve), Waits: true})
	if err != nil {
		return nil, fmt.Errorf("reading the facts of %s: %w", v.Target(), err)
	}
	f, err := parseFacts(out)
	if err != nil {
		return nil, fmt.Errorf("reading the facts of %s: %w", v.Target(), err)
	}
	f.Clock = c
	return f, nil
}

// parseFacts reads what factsScript printed.
func parseFacts(out string) (*Facts, error) {
	if !strings.Contains(out, "\n@@end\n") {
		return nil, errors.New("the output was cut")
	}
	f := &Facts{Free: map[string]int{}, Proxy: map[string]string{}}
	for block := range strings.SplitSeq("\n"+out, "\n@@") {
		head, body, _ := strings.Cut(block, "\n")
		name, about, _ := strings.Cut(head, " ")
		f.take(name, about, strings.TrimSpace(body))
	}
	return f, nil
}

// take reads one block.
func (f *Facts) take(name, about, body string) {
	lines := strings.Split(body, "\n")
	switch name {
	case "arch":
		f.Arch = body
	case "machine-id":
		f.MachineID = body
	case "memory":
		f.Memory, f.MemoryLeft = field(lines, "MemTotal:", 1), field(lines, "MemAvailable:", 1)
	case "apiserver":
		for _, l := range lines {
			f.APIServer = max(f.APIServer, number(l))
		}
	case "swap":
		for _, l := range lines {
			if words := strings.Fields(l); len(words) > 1 && words[0] != "Filename" {
				f.Swap = append(f.Swap, words[0])
			}
		}
	case "disk":
		if words := strings.Fields(lines[len(lines)-1]); len(words) > 3 && len(lines) > 1 {
			f.Free[about] = number(words[3])
		}
	case "inotify":
		if len(lines) == 2 {
			f.Inotify = [2]int{number(lines[0]), number(lines[1])}
		}
	case "addresses":
		f.Addresses = remote.OwnAddresses(body)
	case "listening":
		for _, l := range lines {
			if words := strings.Fields(l); len(words) > 3 {
				f.Listening = append(f.Listening, words[3])
			}
		}
	case "conntrack":
		f.Conntrack = body != ""
	case "kubelet":
		f.Kubelet = strings.TrimPrefix(body, "Kubernetes ")
	case "kubeadm":
		f.Kubeadm = body
	case "manifests":
		f.Manifests = strings.Fields(body)
	case "proxy":
		for _, l := range lines {
			if k, v, ok := strings.Cut(l, "="); ok {
				f.Proxy[strings.ToUpper(k)] = v
			}
		}
	case "resolve":
		for _, l := range lines {
			if words := strings.Fields(l); len(words) > 0 && !slices.Contains(f.Resolved, words[0]) {
				f.Resolved = append(f.Resolved, words[0])
			}
		}
	case "certificate":
		f.Certificates = append(f.Certificates, parsePEM(about, body)...)
	case "kubeconfig":
		f.Certificates = append(f.Certificates, parseEmbedded(about, body)...)
	}
}

// field is a number of the line that begins so, 0 where there is none.
func field(lines []string, begin string, at int) int {
	for _, l := range lines {
		if words := strings.Fields(l); len(words) > at && words[0] == begin {
			return number(words[at])
		}
	}
	return 0
}

func number(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0
	}
	return n
}

// listens says whether something listens on a port, at an address of the host
// or at all of them.
func (f *Facts) listens(address string, port int) bool {
	for _, l := range f.Listening {
		host, p, err := net.SplitHostPort(l)
		if err == nil && p == strconv.Itoa(port) && (host == address || host == "*" || kube.EveryAddress(host)) {
			return true
		}
	}
	return false
}

// clockTries are made until one of them is sure enough.
const clockTries = 3

// readClock asks a host for its time. It connects, so its error is that of
// the login; the first answer therefore takes long and is not the one used.
func readClock(ctx context.Context, host remote.Reader) (clock, error) {
	var best clock
	for i := range clockTries {
		begin := time.Now()
		out, err := host.Look(ctx, remote.Command{Script: "date +%s.%N"})
		if err != nil {
			return clock{}, err
		}
		took := time.Since(begin)
		whole, part, _ := strings.Cut(strings.TrimSpace(out), ".")
		seconds, err := strconv.ParseInt(whole, 10, 64)
		if err != nil {
			return clock{}, fmt.Errorf("reading the time of %s: `date` printed %q", host.Name(), remote.Excerpt(out))
		}
		nanos, err := strconv.ParseInt(part, 10, 64)
		c := clock{time.Unix(seconds, nanos).Sub(begin.Add(took / 2)), took / 2}
		if err != nil { // a date that knows no %N
			c.unsure += time.Second
		}
		if i == 0 || c.unsure < best.unsure {
			best = c
		}
		if best.unsure < 50*time.Millisecond {
			break
		}
	}
	return best, nil
}
