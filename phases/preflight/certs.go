package preflight

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
)

// certificate is one of a host, without its key.
type certificate struct {
	file string
	ends time.Time
}

// parsePEM reads the certificates of a file; of a chain, all.
func parsePEM(file, text string) []certificate {
	var out []certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, certificate{file, c.NotAfter})
		}
	}
}

// parseEmbedded reads those of a kubeconfig.
func parseEmbedded(file, text string) []certificate {
	var out []certificate
	for word := range strings.FieldsSeq(text) {
		if data, err := base64.StdEncoding.DecodeString(word); err == nil {
			out = append(out, parsePEM(file, string(data))...)
		}
	}
	return out
}

const day = 24 * time.Hour

// certificates says which end soon. The kubelet renews its own while it runs
// and may reach the API, at a fifth of their life: one that ends soon has not
// been renewed.
func certificates(_ context.Context, s Scene) ([]Finding, error) {
	f := s.Facts()
	now := time.Now()
	var soon, verySoon []string
	var next *certificate
	for i, c := range f.Certificates {
		if f.role == migrate.FirstControlPlane && ofOldMember(c.file) && !slices.Contains(f.Manifests, "etcd.yaml") {
			continue // nobody uses it any more, and nobody renews it
		}
		if next == nil || c.ends.Before(next.ends) {
			next = &f.Certificates[i]
		}
		left := c.ends.Sub(now)
		what := fmt.Sprintf("%s ends in %d days", c.file, int(left/day))
		if left <= 0 {
			what = fmt.Sprintf("%s has expired on %s", c.file, c.ends.Format(time.DateOnly))
		}
		switch {
		case left < 7*day:
			verySoon = append(verySoon, what)
		case left < 30*day:
			soon = append(soon, what)
		}
	}
	switch {
	case len(verySoon) > 0:
		return []Finding{block(renewal(f.role), "%s", strings.Join(append(verySoon, soon...), "; "))}, nil
	case len(soon) > 0:
		return []Finding{warn(renewal(f.role), "%s", strings.Join(soon, "; "))}, nil
	case next == nil:
		return []Finding{fine("it has none yet")}, nil
	}
	return []Finding{fine("the first of %d to end is %s, in %d days", len(f.Certificates), next.file, int(next.ends.Sub(now)/day))}, nil
}

// ofOldMember says whether a certificate is of the member that kubeadm made,
// which phase 2 retires. The CA's is not.
func ofOldMember(file string) bool {
	return path.Base(path.Dir(file)) == "etcd" && path.Base(file) != "ca.crt"
}

func renewal(role migrate.Selector) string {
	switch role {
	case migrate.EtcdHosts:
		return "`migrate certs renew`: etcd reads them at the next handshake"
	case migrate.Workers:
		return "see whether the kubelet's requests are approved: `kubectl get csr`; then `systemctl restart kubelet` there"
	}
	return "`kubeadm certs renew all`, then restart the static pods one by one: move each manifest out of the folder for 20 s; a kubelet's own is renewed by `systemctl restart kubelet`"
}

// caKey wants the keys of the CAs that sign in each phase. Only whether they
// are there is asked: they never leave their node.
func caKey(ctx context.Context, s Scene) ([]Finding, error) {
	k, err := s.Kube(ctx)
	if err != nil {
		return nil, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	dir := cc.CertificatesDir()
	var out []Finding
	for _, ca := range []struct {
		file, signs string
		phases      []int
	}{
		{"ca.key", "the API server's certificate", []int{1, 3}},
		{"etcd/ca.key", "the new members' certificates", []int{2}},
		{"front-proxy-ca.key", "the joining API servers' certificates", []int{3}},
	} {
		file := path.Join(dir, ca.file)
		answer, err := s.On(s.Target()).Look(ctx, remote.Command{Script: "[ -e " + remote.Quote(file) + " ] && echo there || echo missing"})
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", file, err)
		}
		if strings.TrimSpace(answer) != "there" {
			out = append(out, block("", "%s, which signs %s, is not there", file, ca.signs).only(ca.phases...))
		}
	}
	if len(out) == 0 {
		out = append(out, fine("the keys of all three CAs are there"))
	}
	return out, nil
}
