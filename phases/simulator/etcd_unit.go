package simulator

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
)

// startMember starts what etcd.service says. A start that fails is tried
// again after RestartSec, for ever, as Restart=always has it.
func (w *World) startMember(h *Host, u *unit) {
	proc, err := w.startService(h, u)
	if err != nil {
		h.journal = append(h.journal, err.Error())
		u.state, u.retryAt = "activating", time.Now().Add(5*time.Second)
		return
	}
	u.proc, u.state, u.retryAt = proc, "active", time.Time{}
}

func (w *World) startService(h *Host, u *unit) (*process, error) {
	exec := option(u.text, "Service", "ExecStart")
	if len(exec) != 1 {
		return nil, errors.New("etcd.service has no one ExecStart")
	}
	argv, err := systemdWords(exec[0])
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(h.read(argv[0]), etcdProgram) {
		return nil, fmt.Errorf("%s: cannot execute", argv[0])
	}
	for _, user := range option(u.text, "Service", "User") {
		if !h.users[user] {
			return nil, fmt.Errorf("etcd.service: failed to determine user credentials of %s", user)
		}
	}
	env := map[string]string{}
	for _, file := range option(u.text, "Service", "EnvironmentFile") {
		for line := range strings.Lines(h.read(strings.TrimPrefix(file, "-"))) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
				env[name] = value
			}
		}
	}
	return w.bootMember(h, unitBoot, argv[0], argv, env)
}

// systemdWords splits an ExecStart as systemd.service(5) says.
func systemdWords(line string) ([]string, error) {
	line = strings.ReplaceAll(line, "\\\n", " ")
	var words []string
	var word strings.Builder
	open, quoted := false, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quoted && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == '"':
			quoted, open = !quoted, true
		case (c == ' ' || c == '\t' || c == '\n') && !quoted:
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		case (c == '%' || c == '$') && i+1 < len(line) && line[i+1] == c:
			i++
			fallthrough
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if quoted {
		return nil, errors.New("unbalanced quoting")
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}

// memberFiles refuses what keeps etcd from starting: certificates that are
// not there, no pairs, not readable by its user, a data folder of others.
func (h *Host) memberFiles(f map[string]string) error {
	for _, kind := range []string{"", "peer-"} {
		ca := h.file(f[kind+"trusted-ca-file"])
		crt, key := h.file(f[kind+"cert-file"]), h.file(f[kind+"key-file"])
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca.Data)
		pair, err := h.world.memo.keyPair(crt.Data, key.Data)
		if err != nil {
			return fmt.Errorf("reading %scert-file: %w", kind, err)
		}
		_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err != nil {
			return fmt.Errorf("checking %scert-file: %w", kind, err)
		}
		if key.Mode.Perm() != 0o600 {
			return fmt.Errorf("%s has mode %o", key.Path, key.Mode)
		}
	}
	data := h.folders[path.Clean(f["data-dir"])]
	if data.mode.Perm() != 0o700 {
		return fmt.Errorf("directory %s has mode %o, 700 is wanted", f["data-dir"], data.mode.Perm())
	}
	if key := h.file(f["key-file"]); data.owner != key.Owner {
		return fmt.Errorf("cannot access data directory: it is %s's, the key is %s's", data.owner, key.Owner)
	}
	return nil
}

// mayListen refuses addresses that the host does not have and those that
// something else listens on.
func (h *Host) mayListen(f map[string]string) error {
	taken := map[string]bool{}
	for _, flag := range []string{"listen-client-urls", "listen-peer-urls"} {
		for raw := range strings.SplitSeq(f[flag], ",") {
			u, err := url.Parse(raw)
			if err != nil {
				return fmt.Errorf("--%s: %w", flag, err)
			}
			if u.Hostname() != "127.0.0.1" && u.Hostname() != h.address {
				return fmt.Errorf("listen tcp %s: bind: cannot assign requested address", u.Host)
			}
			if taken[u.Host] || h.socket(u.Host) != "" {
				return fmt.Errorf("listen tcp %s: bind: address already in use", u.Host)
			}
			taken[u.Host] = true
		}
	}
	return nil
}

// holds says whether a certificate file holds a name.
func (h *Host) holds(file, name string) error {
	cert, err := parseCert(h.read(file))
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	return cert.VerifyHostname(name)
}
