package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// readCertificate reads the first certificate of a file, nil where there is no
// file. Files of certificates hold no keys.
func readCertificate(ctx context.Context, r remote.Reader, file string) (*x509.Certificate, error) {
	f, err := r.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := parsePEM(string(f.Data))
	if len(list) == 0 {
		return nil, fmt.Errorf("on %s, %s holds no certificate", r.Name(), file)
	}
	return list[0], nil
}

// keep copies the pairs to this renewal's folder on their own host; copies
// that are there are of before the first attempt and stay. It returns what was
// there before.
func (o Options) keep(ctx context.Context, h remote.Host, step migrate.StepID, pairs []pair) (look, error) {
	var files []string
	for _, p := range pairs {
		files = append(files, p.crt, p.key)
	}
	if err := hostfiles.Backup(ctx, h, o.kept(step), files...); err != nil {
		return look{}, err
	}
	l, err := o.lookAt(ctx, h, step, pairs)
	if err == nil && !l.copied {
		err = fmt.Errorf("on %s not all previous files are in %s", h.Name(), o.KeptIn(step))
	}
	return l, err
}

// noWorse refuses a certificate that would serve less than the one before it
// does: one that ends earlier, or at which a client finds a name missing.
func noWorse(host string, p pair, before *x509.Certificate, f remote.File) error {
	const remedy = "it was not put in place; docs/certificates.md says how to sign by hand"
	list := parsePEM(string(f.Data))
	if len(list) == 0 {
		return fmt.Errorf("renewing on %s: what was signed for %s is no certificate", host, p.crt)
	}
	if list[0].NotAfter.Before(before.NotAfter) {
		return fmt.Errorf("renewing on %s: the new certificate for %s would end on %s, before the present one, which %s: %s",
			host, p.crt, list[0].NotAfter.Format(time.DateOnly), endsOn(before), remedy)
	}
	if !slices.Contains(before.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return nil // nobody looks for a name in it
	}
	have := kube.Names(list[0])
	missing := slices.DeleteFunc(kube.Names(before), func(name string) bool { return slices.Contains(have, name) })
	if len(missing) > 0 {
		return fmt.Errorf("renewing on %s: the new certificate for %s lacks %s, which the present one has: %s", host, p.crt, strings.Join(missing, ", "), remedy)
	}
	return nil
}

// aside is where a new file waits, beside its place.
func aside(file string) string {
	return path.Join(path.Dir(file), "."+path.Base(file)+".migrate")
}

// install puts new pairs in place: all of them are written beside their place
// first, and then two renames follow each other, the certificate last. A
// handshake in the instant between finds no pair and fails; whoever began it,
// the API server or another member, has connections to the other members and
// tries this one again.
func install(ctx context.Context, h remote.Host, pairs []pair, before []*x509.Certificate, files []remote.File) error {
	byPath := map[string]remote.File{}
	for _, f := range files {
		byPath[f.Path] = f
	}
	for i, p := range pairs {
		if f, ok := byPath[p.crt]; ok {
			if err := noWorse(h.Name(), p, before[i], f); err != nil {
				return err
			}
		}
	}
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, p := range pairs {
		for _, file := range []string{p.key, p.crt} {
			f, ok := byPath[file]
			if !ok {
				return fmt.Errorf("renewing on %s: nothing was signed for %s", h.Name(), file)
			}
			f.Path = aside(file)
			if err := h.WriteFile(ctx, f); err != nil {
				return err
			}
		}
		fmt.Fprintf(&script, "mv %s %s; mv %s %s\n", remote.Quote(aside(p.key)), remote.Quote(p.key), remote.Quote(aside(p.crt)), remote.Quote(p.crt))
	}
	if _, err := h.Run(ctx, remote.Command{Script: script.String()}); err != nil {
		return fmt.Errorf("putting the new certificates in place on %s: %w", h.Name(), err)
	}
	return nil
}

// putBack brings the pairs of before this renewal back. Expired ones would
// stop what works.
func (o Options) putBack(ctx context.Context, h remote.Host, step migrate.StepID, pairs []pair) error {
	l, err := o.lookAt(ctx, h, step, pairs)
	if err != nil || !l.copied {
		return err
	}
	var script strings.Builder
	script.WriteString("set -eu; umask 077\n")
	for i, p := range pairs {
		if !time.Now().Before(l.before[i].NotAfter) {
			return fmt.Errorf("on %s the previous certificate, %s, %s: it is not put back, the new one stays", h.Name(), p.crt, endsOn(l.before[i]))
		}
		for _, file := range []string{p.key, p.crt} {
			fmt.Fprintf(&script, "cp -p %[1]s %[2]s; sync %[2]s\n", remote.Quote(path.Join(o.KeptIn(step), file)), remote.Quote(aside(file)))
		}
	}
	for _, p := range pairs {
		fmt.Fprintf(&script, "mv %s %s; mv %s %s\n", remote.Quote(aside(p.key)), remote.Quote(p.key), remote.Quote(aside(p.crt)), remote.Quote(p.crt))
	}
	if _, err := h.Run(ctx, remote.Command{Script: script.String()}); err != nil {
		return fmt.Errorf("restoring the previous certificates on %s: %w", h.Name(), err)
	}
	return nil
}
