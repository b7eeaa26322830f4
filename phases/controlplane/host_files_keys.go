package controlplane

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// privateKeys are the found files that no other node gets. They are sorted.
type privateKeys struct {
	ofCAs []string
	// unread hold a key that can't be compared with the CAs' certificates: it is
	// encrypted, or in a form of its own. It may be a CA's.
	unread []string
}

func (k privateKeys) has(p string) bool {
	return slices.Contains(k.ofCAs, p) || slices.Contains(k.unread, p)
}

// caKeys lists the found files that are a CA's private key, or may be: by name,
// or because a CA's certificate of the cluster or among the files has the same
// public key. The keys are looked at in memory here and go nowhere.
func (f *follower) caKeys(ctx context.Context) (privateKeys, error) {
	var out privateKeys
	var certificates []string
	private := map[string][]crypto.PublicKey{}
	for p, s := range f.seen {
		switch {
		case s.Kind != remote.FilePath || !f.carries(p):
		case kube.NamedLikeCAKey(p):
			out.ofCAs = append(out.ofCAs, p)
		case s.Key:
			file, err := f.first.ReadFile(ctx, p)
			if err != nil {
				return privateKeys{}, err
			}
			public, all := publicsOf(file.Data)
			if private[p] = public; !all {
				out.unread = append(out.unread, p)
			}
			certificates = append(certificates, p, strings.TrimSuffix(p, ".key")+".crt", strings.TrimSuffix(p, ".key")+".pem")
		case strings.HasSuffix(p, ".crt") || strings.HasSuffix(p, ".pem"):
			certificates = append(certificates, p)
		}
	}
	authorities, err := f.authorities(ctx, certificates, len(private) > 0)
	if err != nil {
		return privateKeys{}, err
	}
	for p, keys := range private {
		if slices.ContainsFunc(keys, func(key crypto.PublicKey) bool {
			return slices.ContainsFunc(authorities, func(c *x509.Certificate) bool { return sameKey(c.PublicKey, key) })
		}) {
			out.ofCAs = append(out.ofCAs, p)
			out.unread = slices.DeleteFunc(out.unread, func(u string) bool { return u == p })
		}
	}
	slices.Sort(out.ofCAs)
	slices.Sort(out.unread)
	return out, nil
}

// authorities reads the CA certificates in these files and the cluster's. A file
// that is not there is none; one that can't be read might be that of a CA whose
// key would be taken for a harmless one, so it is an error.
func (f *follower) authorities(ctx context.Context, files []string, wanted bool) ([]*x509.Certificate, error) {
	if !wanted {
		return nil, nil
	}
	for _, ca := range []string{"ca.crt", "etcd/ca.crt", "front-proxy-ca.crt"} {
		files = append(files, path.Join(f.pki[0], ca))
	}
	var out []*x509.Certificate
	for _, p := range files {
		file, err := f.first.ReadFile(ctx, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for CAs whose keys must stay on %s: %w", f.first.Name(), err)
		}
		out = append(out, authoritiesIn(file.Data)...)
	}
	return out, nil
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// keyBlock is a private key in PEM, also where it is indented in a YAML file.
var keyBlock = regexp.MustCompile(`(?s)-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(.*?)-----END [A-Z0-9 ]*PRIVATE KEY-----`)

// publicsOf are the public keys of all private keys in a file. all says whether
// each of them could be read, and there is one.
func publicsOf(data []byte) (out []crypto.PublicKey, all bool) {
	// In JSON a line break is two characters.
	blocks := keyBlock.FindAllStringSubmatch(strings.ReplaceAll(string(data), `\n`, "\n"), -1)
	all = len(blocks) > 0
	for _, b := range blocks {
		text := "-----BEGIN " + b[1] + "-----\n" + strings.Join(strings.Fields(b[2]), "\n") + "\n-----END " + b[1] + "-----\n"
		var public crypto.PublicKey
		if block, _ := pem.Decode([]byte(text)); block != nil {
			public = publicOf(block.Bytes)
		}
		if public == nil {
			all = false
			continue
		}
		out = append(out, public)
	}
	return out, all
}

// publicOf is the public key of a private key, nil for one that can't be read.
func publicOf(der []byte) crypto.PublicKey {
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
		func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
	} {
		key, err := parse(der)
		if signer, ok := key.(crypto.Signer); ok && err == nil {
			return signer.Public()
		}
	}
	return nil
}

// authoritiesIn lists the CA certificates in a PEM file.
func authoritiesIn(data []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.IsCA {
			out = append(out, c)
		}
	}
}
