package certs

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
	"hamigrate/phases/survey"
)

// Certificate is one certificate of one host: what everybody may know of it.
type Certificate struct {
	Host    string    `json:"host"`
	File    string    `json:"file"`
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Ends    time.Time `json:"notAfter"`
	// Days are whole ones, negative where it has expired.
	Days int `json:"daysLeft"`
	// CA: it signs others.
	CA bool `json:"ca,omitempty"`
	// RenewedBy says who renews it, and How in which way, or what to do where
	// nobody does.
	RenewedBy Renewer `json:"renewedBy"`
	How       string  `json:"how"`
}

// Unread is a host whose certificates could not be read, or not all of them.
type Unread struct {
	Host string `json:"host"`
	Why  string `json:"why"`
}

// Inventory is every certificate of the cluster and of the etcd hosts, those
// that end first at the beginning.
type Inventory struct {
	Certificates []Certificate `json:"certificates"`
	Unread       []Unread      `json:"unread,omitempty"`
}

// Within lists the certificates that end within d of now and that somebody
// uses.
func (i Inventory) Within(d time.Duration, now time.Time) []Certificate {
	return slices.DeleteFunc(slices.Clone(i.Certificates), func(c Certificate) bool {
		return c.RenewedBy == Unused || c.Ends.Sub(now) > d
	})
}

// readScript prints the public parts alone: of a file with a key in it the
// certificate, of a kubeconfig its client-certificate-data.
const readScript = `{
echo @@rotates; sed -n 's/^rotateCertificates: *\(.*\)$/\1/p' /var/lib/kubelet/config.yaml
for f in %[1]s/*.crt %[1]s/etcd/*.crt %[3]s/*.crt /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet-client-current.pem /var/lib/kubelet/pki/kubelet-server-current.pem%[2]s; do
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

// hostLimit is how long one host may take, and the list of the workers.
const hostLimit = 15 * time.Second

// Read reads them on all hosts side by side. A host that could not be read is
// told in the inventory; the error is about what the program itself lacks.
func Read(ctx context.Context, world *phases.Access) (Inventory, error) {
	v := world.Reader(migrate.ClusterTarget)
	k, err := v.Kube(ctx)
	if err != nil {
		return Inventory{}, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return Inventory{}, err
	}
	_, external := cc.ExternalEtcd()
	files, err := v.EtcdFiles(ctx)
	if err != nil {
		return Inventory{}, err
	}
	hosts, unlisted := survey.Hosts(ctx, world, hostLimit, migrate.FirstControlPlane, migrate.JoiningControlPlanes, migrate.EtcdHosts, migrate.Workers)
	if len(unlisted) > 0 {
		return Inventory{}, unlisted[0].Err
	}
	c := classifier{external: external, dir: cc.CertificatesDir(), client: files.CertFile, member: etcd.Of(v.Spec()).Files().PKI}
	var out Inventory
	var mu sync.Mutex
	survey.Visit(hosts, func(h survey.Target) {
		list, err := readHost(ctx, world.Reader(h.Name), h, c)
		mu.Lock()
		defer mu.Unlock()
		out.Certificates = append(out.Certificates, list...)
		if err != nil {
			out.Unread = append(out.Unread, Unread{h.Name, err.Error()})
		}
	})
	slices.SortFunc(out.Certificates, byEnd)
	slices.SortFunc(out.Unread, func(a, b Unread) int { return strings.Compare(a.Host, b.Host) })
	return out, context.Cause(ctx)
}

func byEnd(a, b Certificate) int {
	if c := a.Ends.Compare(b.Ends); c != 0 {
		return c
	}
	return strings.Compare(a.Host+" "+a.File, b.Host+" "+b.File)
}

// readHost reads one host's by one command. With an error the list is what could
// be read.
func readHost(ctx context.Context, v phases.Reader, h survey.Target, c classifier) ([]Certificate, error) {
	if err := v.Access().Reach(ctx, h.Name); err != nil { // it may ask for a password: no deadline
		return nil, fmt.Errorf("reading the certificates of %s: %w", h.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, hostLimit)
	defer cancel()
	more := ""
	if path.Dir(c.client) != c.dir {
		more = " " + remote.Quote(c.client)
	}
	out, err := v.On(h.Name).Look(ctx, remote.Command{Script: fmt.Sprintf(readScript, remote.Quote(c.dir), more, c.member)})
	if err != nil {
		return nil, fmt.Errorf("reading the certificates of %s: %w", h.Name, err)
	}
	if !strings.Contains(out, "\n@@end\n") {
		return nil, fmt.Errorf("reading the certificates of %s: the output was cut", h.Name)
	}
	c.host = h
	var list []Certificate
	var unread []string
	for block := range strings.SplitSeq("\n"+out, "\n@@") {
		head, body, _ := strings.Cut(block, "\n")
		what, file, _ := strings.Cut(head, " ")
		switch what {
		case "rotates":
			// What is not set is false: the kubelet's own default.
			words := strings.Fields(body)
			c.rotates = len(words) > 0 && words[0] == "true"
		case "certificate":
			found := parsePEM(body)
			list = append(list, c.describe(file, found)...)
			if n := strings.Count(body, "-----BEGIN CERTIFICATE-----"); len(found) < max(n, 1) {
				unread = append(unread, file)
			}
		case "kubeconfig":
			found := parseEmbedded(body)
			list = append(list, c.describe(file, found)...)
			if len(found) < len(strings.Fields(body)) {
				unread = append(unread, file)
			}
		}
	}
	if len(unread) > 0 {
		return list, fmt.Errorf("no certificate could be read in %s", strings.Join(unread, ", "))
	}
	return list, nil
}

// parsePEM reads the certificates of a file; of a chain, all.
func parsePEM(text string) []*x509.Certificate {
	var out []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, c)
		}
	}
}

// parseEmbedded reads those of a kubeconfig.
func parseEmbedded(text string) []*x509.Certificate {
	var out []*x509.Certificate
	for word := range strings.FieldsSeq(text) {
		if data, err := base64.StdEncoding.DecodeString(word); err == nil {
			out = append(out, parsePEM(string(data))...)
		}
	}
	return out
}

// describe tells of a file's certificates: of a chain that begins with a leaf,
// the leaf alone, since the rest is its CA's.
func (c classifier) describe(file string, list []*x509.Certificate) []Certificate {
	var out []Certificate
	for i, cert := range list {
		if i > 0 && !list[0].IsCA {
			break
		}
		d := Certificate{Host: c.host.Name, File: file, Subject: cert.Subject.String(), Issuer: cert.Issuer.String(),
			Ends: cert.NotAfter.UTC(), Days: daysLeft(cert.NotAfter), CA: cert.IsCA}
		d.RenewedBy, d.How = c.who(file, cert)
		out = append(out, d)
	}
	return out
}

const day = 24 * time.Hour

// daysLeft are whole days; one that has expired an hour ago has -1.
func daysLeft(end time.Time) int {
	left := time.Until(end)
	if left < 0 {
		return int((left - day + 1) / day)
	}
	return int(left / day)
}
