package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// authority is a CA as its two files hold it.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// leaf says what a certificate is to hold.
type leaf struct {
	name, organization string
	sans               []string // DNS names and IP addresses
	usages             []x509.ExtKeyUsage
}

// newAuthority makes a CA that is valid by the bubble's clock and by ours.
func newAuthority(name string) (cert, key string, err error) {
	return sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}, nil)
}

// parseAuthority reads a CA's two files.
func parseAuthority(cert, key string) (*authority, error) {
	c, err := parseCert(cert)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		return nil, errors.New("the CA's key is not there")
	}
	k, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return &authority{c, k}, nil
}

func parseCert(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("there is no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// sign makes a key and a certificate for a year, as kubeadm does.
func (a *authority) sign(l leaf) (cert, key string, err error) {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: l.name}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: l.usages, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-5 * time.Minute), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	if l.organization != "" {
		t.Subject.Organization = []string{l.organization}
	}
	for _, san := range l.sans {
		if ip := net.ParseIP(san); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, san)
		}
	}
	return sign(t, a)
}

// sign signs with a's key, or with the certificate's own where a is nil.
func sign(t *x509.Certificate, a *authority) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return "", "", err
	}
	parent, signer := t, crypto.Signer(private)
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, private.Public(), signer)
	if err != nil {
		return "", "", fmt.Errorf("signing for %s: %w", t.Subject, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})), nil
}

// The usages of kubeadm's leaves.
func serving() []x509.ExtKeyUsage { return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
func client() []x509.ExtKeyUsage  { return []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
func both() []x509.ExtKeyUsage    { return append(serving(), client()...) }
