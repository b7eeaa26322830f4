package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"hamigrate/migrate/kube"
)

// handshakeLimit bounds one look at the wire.
const handshakeLimit = 10 * time.Second

// shown is the certificate that a member shows at address (host:port, dialled
// through dial), checked against the CA and the address. A member wants a
// certificate of its client as well and breaks off without one; it has shown
// its own by then, which is all that is asked for.
func shown(ctx context.Context, dial kube.Dialer, address string, roots *x509.CertPool) (*x509.Certificate, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("looking at what %s shows: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("looking at what %s shows: %w", address, err)
	}
	defer conn.Close()
	var leaf *x509.Certificate
	session := tls.Client(conn, &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12,
		// It is verified below: the handshake itself may not get to its end.
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 {
				return errors.New("it shows no certificate")
			}
			c, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			leaf = c
			return nil
		},
	})
	if err := session.HandshakeContext(ctx); err != nil && leaf == nil {
		return nil, fmt.Errorf("looking at what %s shows: %w", address, err)
	}
	if leaf == nil {
		return nil, fmt.Errorf("looking at what %s shows: it shows no certificate", address)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return nil, fmt.Errorf("looking at what %s shows: %w", address, err)
	}
	return leaf, nil
}
