package loadbalancer

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const servingCertificateID = "loadbalancer/serving-certificate"

// servingCertificate adds the endpoint's names to the certificate of the
// first API server. The API server watches the two files and serves the new
// pair within seconds, without a restart (k8s.io/apiserver:
// server/dynamiccertificates/dynamic_serving_content.go).
func servingCertificate() phases.Step {
	return phases.Step{
		ID:    servingCertificateID,
		Title: "Add the control-plane endpoint to the API server's certificate",
		Why:   "A client that comes through the load balancer checks the name it called; the certificate must hold it before the first one does.",
		On:    migrate.FirstControlPlane,
		ByHand: "Sign into a scratch folder, so that the node has a whole certificate at every instant:\n\n" +
			"```\nmkdir -p -m 0700 $HOME/new-pki\nln -s /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key $HOME/new-pki/\n" +
			kubeadm.ConfigByHand +
			"# in it: certificatesDir: $HOME/new-pki, and under apiServer.certSANs the endpoint's host, the load balancer's\n" +
			"# address and every name that somebody added to the present certificate by hand\n" +
			"kubeadm init phase certs apiserver --config $HOME/kubeadm.yaml\n" +
			"mkdir -p -m 0700 $HOME/old-pki && cp -p /etc/kubernetes/pki/apiserver.* $HOME/old-pki/\n" +
			"mv $HOME/new-pki/apiserver.key $HOME/new-pki/apiserver.crt /etc/kubernetes/pki/\n" +
			"openssl s_client -connect {{.First.Address}}:6443 </dev/null | openssl x509 -noout -ext subjectAltName\n```\n",
		Check:  checkServingCertificate,
		Apply:  applyServingCertificate,
		Verify: verifyServingCertificate,
		OneWay: "a name more in the certificate harms nobody, and somebody may call the API by it",
		// The API server looks at the files when told by inotify, else once a
		// minute.
		Settle: 2 * time.Minute, WaitsFor: "kube-apiserver",
	}
}

// EndpointNames are the names and addresses by which clients call the API
// through the load balancers.
func EndpointNames(v phases.Reader) []string { return wantedNames(v) }

// wantedNames are what clients will call the API from now on.
func wantedNames(v phases.Reader) []string {
	names := []string{v.Spec().Endpoint.Host}
	for _, lb := range v.Spec().LoadBalancer.Hosts {
		if lb.Address != names[0] {
			names = append(names, lb.Address)
		}
	}
	return names
}

func served(ctx context.Context, v phases.Reader) (*x509.Certificate, error) {
	address, err := v.APIAddress(ctx, v.Target())
	if err != nil {
		return nil, err
	}
	return kube.ServedCertificate(ctx, v.On(v.Target()).DialContext, address, nil)
}

func checkServingCertificate(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	cert, err := served(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	missing := kube.MissingNames(cert, wantedNames(v))
	if len(missing) == 0 {
		return phases.Done("the served certificate holds %s", strings.Join(wantedNames(v), ", ")), nil
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	switch has, err := hostfiles.Confirms(ctx, v.On(v.Target()), remote.Cmd("test", "-s", path.Join(cc.CertificatesDir(), "ca.key"))); {
	case err != nil:
		return migrate.Finding{}, err
	case !has:
		return phases.Block("sign a certificate with these names with your own CA, put it in place, and run again",
			"the certificate lacks %s and %s has no ca.key to sign with", strings.Join(missing, ", "), v.Target()), nil
	}
	before := strings.Join(kube.Names(cert), "\n") + "\n"
	f := phases.Need(migrate.Before{
		"names":  strings.TrimSpace(before),
		"backup": hostfiles.BackupDir(servingCertificateID),
	}, "the served certificate lacks %s", strings.Join(missing, ", "))
	f.Changes = []migrate.Change{{
		Object: fmt.Sprintf("%s: names in %s", v.Target(), path.Join(cc.CertificatesDir(), "apiserver.crt")),
		Before: before, After: before + strings.Join(missing, "\n") + "\n",
	}}
	return f, nil
}

func applyServingCertificate(ctx context.Context, h phases.Writer, before migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return err
	}
	host := h.On(h.Target())
	crt, key := path.Join(cc.CertificatesDir(), "apiserver.crt"), path.Join(cc.CertificatesDir(), "apiserver.key")
	// Names that somebody added by hand live only in the certificate; kubeadm
	// would drop them (kubernetes/kubeadm#1447).
	cc.AddCertSANs(strings.Fields(before["names"])...)
	cc.AddCertSANs(wantedNames(h.Reader)...)
	if err := hostfiles.Backup(ctx, host, servingCertificateID, crt, key); err != nil {
		return err
	}
	first := h.First()
	dir := path.Join(hostfiles.StateDir, "serving-certificate")
	pki, err := kubeadm.Sign(ctx, host, kubeadm.Signing{
		Dir: dir, Config: cc, NodeName: first.Name, Address: first.Address, CA: "ca", Phases: []string{"apiserver"},
	})
	if err != nil {
		return err
	}
	// Two renames: in between the pair does not match and the API server
	// keeps serving the one it has in memory.
	install := fmt.Sprintf(`set -eu; umask 077
for f in apiserver.key apiserver.crt; do cp %[1]s/$f %[2]s/.$f.migrate; done
chmod 0644 %[2]s/.apiserver.crt.migrate; sync %[2]s/.apiserver.key.migrate %[2]s/.apiserver.crt.migrate
mv %[2]s/.apiserver.key.migrate %[2]s/apiserver.key; mv %[2]s/.apiserver.crt.migrate %[2]s/apiserver.crt
rm -rf %[3]s`, remote.Quote(pki), remote.Quote(path.Dir(crt)), remote.Quote(dir))
	if _, err := host.Run(ctx, remote.Command{Script: install}); err != nil {
		return fmt.Errorf("putting the new certificate in place: %w", err)
	}
	return nil
}

// verifyServingCertificate looks at the wire: the names are there, and what
// is served is what the file holds.
func verifyServingCertificate(ctx context.Context, v phases.Reader) error {
	cert, err := served(ctx, v)
	if err != nil {
		return err
	}
	if missing := kube.MissingNames(cert, wantedNames(v)); len(missing) > 0 {
		return fmt.Errorf("the API server on %s serves a certificate without %s", v.Target(), strings.Join(missing, ", "))
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return err
	}
	file, err := v.On(v.Target()).ReadFile(ctx, path.Join(cc.CertificatesDir(), "apiserver.crt"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(file.Data)
	if block == nil {
		return fmt.Errorf("on %s, %s holds no certificate", v.Target(), file.Path)
	}
	onDisk, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("on %s, reading %s: %w", v.Target(), file.Path, err)
	}
	if !onDisk.Equal(cert) {
		return fmt.Errorf("the API server on %s does not serve the certificate in %s yet", v.Target(), file.Path)
	}
	return nil
}
