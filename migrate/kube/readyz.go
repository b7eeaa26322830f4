package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// Readyz asks one API server, over a connection of its own, whether it is
// ready. Ready means status 200: the body of a failing /readyz may hold the
// word "ok" as well.
func Readyz(ctx context.Context, cfg *rest.Config) error {
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout = 5 * time.Second
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return fmt.Errorf("asking %s for /readyz: %w", cfg.Host, err)
	}
	transport := &http.Transport{TLSClientConfig: tlsConfig, DialContext: cfg.Dial, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: cfg.Timeout,
		// A redirect is somebody else's answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Host+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("asking %s for /readyz: %w", cfg.Host, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("asking %s for /readyz: %w", cfg.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking %s for /readyz: status %d: %s", cfg.Host, resp.StatusCode, failing(string(body)))
	}
	return err
}

// failing keeps the failing lines of a /readyz body.
func failing(body string) string {
	var out []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "[-]") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	if len(out) == 0 {
		return strings.TrimSpace(body)
	}
	return strings.Join(out, ", ")
}

// ServedCertificate returns the certificate a TLS server shows at address
// (host:port, reached through dial). The handshake is verified against the
// CA certificates and the address's host part unless roots is nil: then only
// what is shown is of interest.
func ServedCertificate(ctx context.Context, dial Dialer, address string, roots *x509.CertPool) (*x509.Certificate, error) {
	// Without roots nothing is sent and nothing trusted: the certificate is
	// only looked at, to say which names it lacks.
	return shown(ctx, dial, address, &tls.Config{RootCAs: roots, InsecureSkipVerify: roots == nil})
}

// ServedBy returns the certificate that a TLS server shows at address, which
// must be one of the CA's for servers. Its names are not checked: what leads
// to an API server does so before that has a certificate for the way.
func ServedBy(ctx context.Context, dial Dialer, address string, roots *x509.CertPool) (*x509.Certificate, error) {
	return shown(ctx, dial, address, &tls.Config{
		InsecureSkipVerify: true, // the names alone: the chain is checked here
		VerifyConnection: func(cs tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range cs.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
			return err
		},
	})
}

// shown makes a handshake, and nothing more, on a connection of its own.
func shown(ctx context.Context, dial Dialer, address string, config *tls.Config) (*x509.Certificate, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate served at %s: %w", address, err)
	}
	config.ServerName = host
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate served at %s: %w", address, err)
	}
	defer conn.Close()
	session := tls.Client(conn, config)
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("reading the certificate served at %s: %w", address, err)
	}
	return session.ConnectionState().PeerCertificates[0], nil
}

// MissingNames lists those names and IP addresses that a certificate does
// not hold.
func MissingNames(cert *x509.Certificate, names []string) []string {
	var missing []string
	for _, n := range names {
		if cert.VerifyHostname(n) != nil {
			missing = append(missing, n)
		}
	}
	return missing
}

// Names lists a certificate's DNS names and IP addresses.
func Names(cert *x509.Certificate) []string {
	out := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}
