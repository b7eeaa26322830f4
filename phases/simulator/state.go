package simulator

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// State is everything that lasts, one entry a thing, to be compared with
// another State. Keys and certificates, which differ each time they are made,
// are described by what they are for; versions, times and names that are
// random are left out.
func (w *World) State() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]string{
		"etcd":               w.etcdState(),
		"kube-proxy uses":    w.proxyServer,
		"roll-outs":          strings.Join(w.rollOuts, " "),
		"what never may be":  strings.Join(w.broken, "\n"),
		"number of clusters": fmt.Sprint(len(w.clusters)),
	}
	for _, h := range w.all() {
		h.fileState(out)
		h.runState(out)
	}
	for key, obj := range w.objects.items {
		if s, ok := obj.(*corev1.Secret); ok && len(s.Data["usage-bootstrap-authentication"]) == 0 && s.Type == corev1.SecretTypeBootstrapToken {
			continue // ends by itself and is of no use to anybody
		}
		out["object "+key.String()] = w.memo.describeObject(obj)
	}
	return out
}

func (w *World) etcdState() string {
	c := w.store()
	var lines []string
	for name, k := range c.keys {
		lines = append(lines, "key "+name+" "+k.value)
	}
	for _, m := range c.members {
		line := fmt.Sprintf("%s %v %v learner=%t leader=%t", m.name, m.peerURLs, m.clientURLs, m.learner, m.id == c.leader)
		lines = append(lines, line)
	}
	return strings.Join(sorted(lines), "\n")
}

// fileState adds files, links and folders.
func (h *Host) fileState(out map[string]string) {
	snapshot := h.Entries()
	for p, f := range snapshot {
		if strings.HasPrefix(p, "/proc/") || p == "/run/migrate-told" {
			continue // gone with the process, or with the next boot
		}
		name := h.Name() + " " + p
		if f.Mode&fs.ModeSymlink != 0 {
			out[name] = "link to " + string(f.Data)
			continue
		}
		text := h.world.memo.describe(string(f.Data))
		if crt, ok := strings.CutSuffix(p, ".key"); ok {
			if pair, there := snapshot[crt+".crt"]; there {
				if _, err := h.world.memo.keyPair(pair.Data, f.Data); err != nil {
					text += "NO PAIR WITH ITS CERTIFICATE\n"
				}
			}
		}
		out[name] = fmt.Sprintf("%o %s\n%s", f.Mode, f.Owner, text)
	}
	for p, meta := range h.folders {
		out[h.Name()+" "+p+"/"] = fmt.Sprintf("%o %s", meta.mode, meta.owner)
	}
}

// runState adds what runs, and with what.
func (h *Host) runState(out map[string]string) {
	var procs []string
	for _, p := range h.procs {
		procs = append(procs, strings.Join(p.argv, " "))
	}
	out[h.Name()+" runs"] = strings.Join(sorted(procs), "\n")
	for name, u := range h.units {
		state := u.state
		if h.read(h.unitFile(name)) != u.text {
			state += ", not what its file says"
		}
		if state == "inactive" {
			continue // systemd forgets those
		}
		out[h.Name()+" unit "+name] = state
	}
	out[h.Name()+" nginx"] = h.nginx.loaded
	if h.haproxyActive() {
		out[h.Name()+" haproxy"] = h.haproxy.loaded + fmt.Sprint(h.haproxy.servers)
	}
	out[h.Name()+" kubelet uses"] = h.kubelet.server
	var users []string
	for u := range h.users {
		users = append(users, u)
	}
	out[h.Name()+" users"] = strings.Join(sorted(users), " ")
	for _, pod := range h.apiServers() {
		if pod.serving != nil {
			out[h.Name()+" serves at "+pod.proc.flags["secure-port"]] = h.world.memo.describe(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pod.serving.Leaf.Raw})))
		}
	}
	for name, table := range h.nat {
		out[h.Name()+" nft "+name] = fmt.Sprint(table)
	}
}

var (
	moment   = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT[0-9:.]+Z`)
	pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\n`)
	embedded = regexp.MustCompile(`(certificate-authority-data|client-certificate-data|client-key-data): (\S+)`)
)

// describe replaces certificates and keys.
func (m *memo) describe(text string) string {
	return memoized(&m.texts, text, func() string { return describeText(text) })
}

func describeText(text string) string {
	text = embedded.ReplaceAllStringFunc(text, func(field string) string {
		name, data, _ := strings.Cut(field, ": ")
		plain, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return field
		}
		return name + ": " + describeText(string(plain))
	})
	return pemBlock.ReplaceAllStringFunc(text, func(block string) string {
		if !strings.Contains(block, "BEGIN CERTIFICATE-") {
			return "a key\n"
		}
		c, err := parseCert(block)
		if err != nil {
			return "a bad certificate\n"
		}
		names := append([]string{}, c.DNSNames...)
		for _, ip := range c.IPAddresses {
			names = append(names, ip.String())
		}
		return fmt.Sprintf("a certificate of %s, signed by %s, for %v %v until %s\n", c.Subject, c.Issuer, sorted(names), c.ExtKeyUsage, c.NotAfter.Format("2006"))
	})
}

// describeObject leaves out what is different each time.
func (m *memo) describeObject(obj object) string {
	c, ok := obj.DeepCopyObject().(object)
	if !ok {
		return "no object"
	}
	c.SetResourceVersion("")
	c.SetUID("")
	c.SetCreationTimestamp(metav1.Time{})
	data, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(moment.ReplaceAllString(m.describe(string(data)), "some time"), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, `"renewTime"`) })
	return strings.Join(lines, "\n")
}
