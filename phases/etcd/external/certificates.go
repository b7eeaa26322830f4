package external

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// renewBefore: a certificate that ends sooner is signed again rather than used.
const renewBefore = 30 * 24 * time.Hour

// certificates gives each etcd host a server and a peer certificate, signed
// by kubeadm on the first control-plane node with the CA that the old member
// uses, so old and new members trust each other. The CA's key stays there;
// the leaf keys pass through this program's memory and touch no other disk.
func certificates() phases.Step {
	return phases.Step{
		ID:    certificatesID,
		Title: "Sign the member's certificates",
		Why:   "Members and clients of etcd know each other by certificate alone.",
		On:    migrate.EtcdHosts,
		Needs: []migrate.StepID{userID},
		ByHand: "On {{.First.Name}}:\n\n```\n" +
			"mkdir -p -m 0700 $HOME/{{.Target}}/etcd\n" +
			"ln -s /etc/kubernetes/pki/etcd/ca.crt /etc/kubernetes/pki/etcd/ca.key $HOME/{{.Target}}/etcd/\n" +
			"cat > $HOME/{{.Target}}.yaml <<EOF\n" +
			"apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {advertiseAddress: {{.Address}}}\nnodeRegistration: {name: {{.Target}}, criSocket: " + kubeadm.SocketByHand + "}\n---\n" +
			"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: $(kubeadm version -o short)\ncertificatesDir: $HOME/{{.Target}}\n" +
			"etcd: {local: {serverCertSANs: [{{.Target}}, {{.Address}}], peerCertSANs: [{{.Target}}, {{.Address}}]}}\nEOF\n" +
			"kubeadm init phase certs etcd-server --config $HOME/{{.Target}}.yaml\n" +
			"kubeadm init phase certs etcd-peer --config $HOME/{{.Target}}.yaml\n" +
			"cd $HOME/{{.Target}}/etcd && scp ca.crt server.crt server.key peer.crt peer.key root@{{.Address}}:/etc/etcd/pki/\n" +
			"rm -r $HOME/{{.Target}} $HOME/{{.Target}}.yaml\n```\n\nOn {{.Target}}:\n\n" +
			"```\nchown root:etcd /etc/etcd/pki/*.crt && chmod 0640 /etc/etcd/pki/*.crt\nchown etcd:etcd /etc/etcd/pki/*.key && chmod 0600 /etc/etcd/pki/*.key\n```\n",
		Check:  checkCertificates,
		Apply:  applyCertificates,
		Verify: verifyCertificates,
		Undo:   undoCertificates,
		Settle: 10 * time.Second,
	}
}

// certificateFiles are the files of a member, all below PKIDir.
var certificateFiles = []string{"ca.crt", "server.crt", "server.key", "peer.crt", "peer.key"}

// signingDir is where they are signed, below StateDir on the first
// control-plane node.
func signingDir(host string) string { return "sign-" + host }

// certificateFault says what is wrong with a host's certificates, "" for
// nothing; ca is what etcdCA reads.
func certificateFault(ctx context.Context, v phases.Reader, ca []byte) (string, error) {
	read := make([]remote.File, len(certificateFiles))
	var left []string
	err := parallel.Do(
		func() error {
			return parallel.Each(certificateFiles, func(i int, name string) (err error) {
				read[i], err = v.On(v.Target()).ReadFile(ctx, path.Join(PKIDir, name))
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			})
		},
		// The scratch folder for signing holds the same keys; an attempt that
		// was cut may have left it behind.
		func() (err error) {
			left, err = v.On(v.First().Name).List(ctx, hostfiles.StateDir)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
	if err != nil {
		return "", err
	}
	files := map[string][]byte{}
	for i, name := range certificateFiles {
		f := read[i]
		if f.Path == "" {
			return name + " is missing", nil
		}
		if strings.HasSuffix(name, ".key") && (f.Mode.Perm() != 0o600 || f.Owner != "etcd:etcd") {
			return fmt.Sprintf("%s has mode %o and owner %s", name, f.Mode.Perm(), f.Owner), nil
		}
		files[name] = f.Data
	}
	if slices.Contains(left, signingDir(v.Target())) {
		return "the scratch folder for signing is still on " + v.First().Name, nil
	}
	if string(files["ca.crt"]) != string(ca) {
		return "ca.crt is not the CA of the old member", nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, kind := range []string{"server", "peer"} {
		pair, err := tls.X509KeyPair(files[kind+".crt"], files[kind+".key"])
		if err != nil {
			return fmt.Sprintf("%s.crt and %s.key are no pair", kind, kind), nil
		}
		if fault := leafFault(pair.Leaf, roots, v.Self()); fault != "" {
			return kind + ".crt " + fault, nil
		}
	}
	return "", nil
}

// leafFault: 127.0.0.1 is needed in peer certificates because through the
// relay the old member sees newcomers come from there, and etcd checks the
// names against the remote address (client/pkg/transport: tlsListener).
func leafFault(leaf *x509.Certificate, roots *x509.CertPool, h cluster.Host) string {
	if missing := kube.MissingNames(leaf, []string{h.Address, "127.0.0.1"}); len(missing) > 0 {
		return "does not hold " + strings.Join(missing, ", ")
	}
	if time.Until(leaf.NotAfter) < renewBefore {
		return "ends on " + leaf.NotAfter.Format(time.DateOnly)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return "is not of the old member's CA"
	}
	return ""
}

// etcdCA reads the CA's certificate and returns the certificates folder.
func etcdCA(ctx context.Context, v phases.Reader) (ca []byte, dir string, err error) {
	files, err := v.EtcdFiles(ctx)
	if err != nil {
		return nil, "", err
	}
	f, err := v.On(v.First().Name).ReadFile(ctx, files.CAFile)
	if err != nil {
		return nil, "", fmt.Errorf("reading etcd's CA: %w", err)
	}
	return f.Data, path.Dir(path.Dir(files.CAFile)), nil
}

func checkCertificates(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	ca, dir, err := etcdCA(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	fault, err := certificateFault(ctx, v, ca)
	if err != nil {
		return migrate.Finding{}, err
	}
	if fault == "" {
		return phases.Done("the certificates in %s are good", PKIDir), nil
	}
	key := path.Join(dir, "etcd/ca.key")
	switch has, err := hostfiles.Confirms(ctx, v.On(v.First().Name), remote.Cmd("test", "-s", key)); {
	case err != nil:
		return migrate.Finding{}, err
	case !has:
		return phases.Block("put ca.crt, server.*, peer.* signed by etcd's CA into "+v.Target()+":"+PKIDir+" and run again",
			"%s, and %s has no %s to sign with", fault, v.First().Name, key), nil
	}
	names, err := v.On(v.Target()).List(ctx, PKIDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return migrate.Finding{}, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(certificateFiles, n) })
	f := phases.Need(migrate.Before{"fault": fault, "files": strings.Join(names, ","), "backup": hostfiles.BackupDir(certificatesID)}, "%s", fault)
	f.Changes = []migrate.Change{{Object: v.Target() + ":" + PKIDir, Before: strings.Join(append(names, ""), "\n"),
		After: strings.Join(certificateFiles, " (new)\n") + " (new)\n"}}
	return f, nil
}

func applyCertificates(ctx context.Context, h phases.Writer, before migrate.Before) error {
	if err := keepCertificates(ctx, h, before); err != nil {
		return err
	}
	files, scratch, err := signMember(ctx, h, nil, "server", "peer")
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := h.On(h.Target()).WriteFile(ctx, f); err != nil {
			return err
		}
	}
	return dropScratch(ctx, h, scratch)
}

// SignMember lets kubeadm sign new certificates for the member on the target,
// of some kinds ("server", "peer", "healthcheck-client"), with etcd's CA where
// that lives. names, by kind, are put into those of "server" and "peer" besides
// the host's own. It returns them and their keys as they belong on their host;
// it has put nothing there, and the scratch folder is gone.
func SignMember(ctx context.Context, h phases.Writer, names map[string][]string, kinds ...string) ([]remote.File, error) {
	files, scratch, err := signMember(ctx, h, names, kinds...)
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(f remote.File) bool { return path.Base(f.Path) == "ca.crt" })
	return files, dropScratch(ctx, h, scratch)
}

// signMember returns the CA's certificate, too, and the scratch folder.
func signMember(ctx context.Context, h phases.Writer, names map[string][]string, kinds ...string) (files []remote.File, scratch string, err error) {
	k, err := h.Kube(ctx)
	if err != nil {
		return nil, "", err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return nil, "", err
	}
	self, first := h.Self(), h.On(h.First().Name)
	own := []string{self.Name, self.Address}
	cc.SetLocalEtcdSANs(with(own, names["server"]), with(own, names["peer"]))
	signing := kubeadm.Signing{
		Dir: path.Join(hostfiles.StateDir, signingDir(self.Name)), Config: cc, NodeName: self.Name, Address: self.Address, CA: "etcd/ca",
	}
	signed := []string{"ca.crt"}
	for _, kind := range kinds {
		signing.Phases = append(signing.Phases, "etcd-"+kind)
		signed = append(signed, kind+".crt", kind+".key")
	}
	pki, err := kubeadm.Sign(ctx, first, signing)
	if err != nil {
		return nil, "", err
	}
	var paths []string
	for _, name := range signed {
		paths = append(paths, path.Join(pki, "etcd", name))
	}
	if files, err = hostfiles.ReadFiles(ctx, first, paths...); err != nil {
		return nil, "", fmt.Errorf("reading a signed certificate: %w", err)
	}
	for i, name := range signed {
		f := &files[i]
		f.Path, f.Mode, f.Owner = path.Join(PKIDir, name), 0o640, "root:etcd"
		if strings.HasSuffix(name, ".key") {
			f.Mode, f.Owner = 0o600, "etcd:etcd"
		}
	}
	return files, signing.Dir, nil
}

// with adds the names that are not there yet.
func with(own, more []string) []string {
	out := slices.Clone(own)
	for _, name := range more {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func dropScratch(ctx context.Context, h phases.Writer, dir string) error {
	first := h.On(h.First().Name)
	if _, err := first.Run(ctx, remote.Cmd("rm", "-rf", dir)); err != nil {
		return fmt.Errorf("removing the scratch folder on %s: %w", first.Name(), err)
	}
	return nil
}

// keepCertificates copies those that were there before the first attempt; what
// an attempt that was cut has written is not among them.
func keepCertificates(ctx context.Context, h phases.Writer, before migrate.Before) error {
	if before["files"] == "" {
		return nil
	}
	var files []string
	for name := range strings.SplitSeq(before["files"], ",") {
		files = append(files, path.Join(PKIDir, name))
	}
	return hostfiles.Backup(ctx, h.On(h.Target()), certificatesID, files...)
}

func verifyCertificates(ctx context.Context, v phases.Reader) error {
	ca, _, err := etcdCA(ctx, v)
	if err != nil {
		return err
	}
	fault, err := certificateFault(ctx, v, ca)
	if err != nil {
		return err
	}
	if fault != "" {
		return fmt.Errorf("on %s: %s", v.Target(), fault)
	}
	return nil
}

// undoCertificates takes the member's keys and certificates off its host, and
// what an attempt that was cut has left where they are signed. The CA's key
// was never here.
func undoCertificates(ctx context.Context, h phases.Writer, before migrate.Before) error {
	if err := notRunning(ctx, h.Reader, PKIDir); err != nil {
		return err
	}
	first := h.On(h.First().Name)
	scratch := path.Join(hostfiles.StateDir, signingDir(h.Target()))
	if _, err := first.Run(ctx, remote.Cmd("rm", "-rf", scratch)); err != nil {
		return fmt.Errorf("removing the scratch folder on %s: %w", first.Name(), err)
	}
	was := strings.Split(before["files"], ",")
	for _, name := range certificateFiles {
		if err := fileBack(ctx, h.On(h.Target()), certificatesID, path.Join(PKIDir, name), slices.Contains(was, name)); err != nil {
			return err
		}
	}
	return nil
}
