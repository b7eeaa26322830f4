package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path"
	"strconv"
	"time"

	"hamigrate/migrate"
	adapter "hamigrate/migrate/etcd"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// ClientID is the journal's key of the API servers' step.
const ClientID = "certs/apiserver-etcd-client"

// apiserverEtcdClient renews what each API server shows to the members.
func (o Options) apiserverEtcdClient() phases.Step {
	return phases.Step{
		ID:      ClientID,
		Title:   "Renew the API server's client certificate for etcd",
		Why:     "With an expired one the API server reaches no member any more once its connections are made again, and answers nothing.",
		On:      migrate.ControlPlanes,
		Needs:   []migrate.StepID{MemberID},
		Rolling: true,
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			p, running, err := clientPair(ctx, v)
			if err != nil {
				return migrate.Finding{}, err
			}
			if !running {
				return phases.Block("see why with `crictl ps -a` and `journalctl -u kubelet` there", "no API server runs on %s", v.Target()), nil
			}
			return o.check(ctx, v, ClientID, []pair{p})
		},
		Apply:  o.applyClient,
		Verify: o.verifyClient,
		Undo: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			p, running, err := clientPair(ctx, h.Reader)
			if err != nil || !running {
				return orNotRunning(err, h.Target())
			}
			return o.putBack(ctx, h.On(h.Target()), ClientID, []pair{p})
		},
		Settle: 30 * time.Second, WaitsFor: "kube-apiserver",
	}
}

func orNotRunning(err error, node string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("no API server runs on %s, so which certificate it uses is not known", node)
}

// clientPair is the one that the node's running API server was started with.
func clientPair(ctx context.Context, v phases.Reader) (p pair, running bool, err error) {
	api, running, err := v.APIServer(ctx, v.Target())
	if err != nil || !running {
		return pair{}, running, err
	}
	p.crt, _ = api.Flags.Get("etcd-certfile")
	p.key, _ = api.Flags.Get("etcd-keyfile")
	if p.crt == "" || p.key == "" {
		return pair{}, true, fmt.Errorf("the API server on %s runs without --etcd-certfile and --etcd-keyfile: this tool only handles etcd with TLS", v.Target())
	}
	return p, true, nil
}

// CheckClientCertificate wants the pair of the target's running API server to be one, of
// etcd's CA and valid now.
func CheckClientCertificate(ctx context.Context, v phases.Reader) (Ends, error) {
	p, running, err := clientPair(ctx, v)
	if err != nil || !running {
		return Ends{}, orNotRunning(err, v.Target())
	}
	key, err := keyPair(ctx, v.On(v.Target()), p)
	if err != nil {
		return Ends{}, err
	}
	roots, err := etcdRoots(ctx, v)
	if err != nil {
		return Ends{}, err
	}
	if _, err := key.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return Ends{}, fmt.Errorf("on %s, %s: %w", v.Target(), p.crt, err)
	}
	return Ends{p.crt, key.Leaf.NotAfter}, nil
}

// keyPair reads a pair, and wants it to be one.
func keyPair(ctx context.Context, r remote.Reader, p pair) (tls.Certificate, error) {
	files, err := hostfiles.ReadFiles(ctx, r, p.crt, p.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := tls.X509KeyPair(files[0].Data, files[1].Data)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("on %s, %s and %s: %w", r.Name(), p.crt, p.key, err)
	}
	if key.Leaf == nil { // with an older GODEBUG
		key.Leaf, err = x509.ParseCertificate(key.Certificate[0])
	}
	return key, err
}

func (o Options) applyClient(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	p, running, err := clientPair(ctx, h.Reader)
	if err != nil || !running {
		return orNotRunning(err, h.Target())
	}
	host := h.On(h.Target())
	l, err := o.keep(ctx, host, ClientID, []pair{p})
	if err != nil {
		return err
	}
	files, err := signClient(ctx, h, p)
	if err != nil {
		return err
	}
	return install(ctx, host, []pair{p}, l.before, files)
}

// signClient lets kubeadm sign a new pair on the first control-plane node,
// where the CA's key is, and returns it for its place on the target. The files
// there keep their mode and owner.
func signClient(ctx context.Context, h phases.Writer, p pair) ([]remote.File, error) {
	k, err := h.Kube(ctx)
	if err != nil {
		return nil, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	self, first := h.Self(), h.On(h.First().Name)
	names := []string{self.Name, self.Address}
	cc.SetLocalEtcdSANs(names, names) // with an external etcd kubeadm would sign none
	dir := path.Join(hostfiles.StateDir, "sign-apiserver-etcd-client-"+self.Name)
	pki, err := kubeadm.Sign(ctx, first, kubeadm.Signing{
		Dir: dir, Config: cc, NodeName: self.Name, Address: self.Address, CA: "etcd/ca", Phases: []string{"apiserver-etcd-client"},
	})
	if err != nil {
		return nil, err
	}
	signed, err := hostfiles.ReadFiles(ctx, first, path.Join(pki, "apiserver-etcd-client.crt"), path.Join(pki, "apiserver-etcd-client.key"))
	if err != nil {
		return nil, fmt.Errorf("reading the signed certificate: %w", err)
	}
	if _, err := first.Run(ctx, remote.Cmd("rm", "-rf", dir)); err != nil {
		return nil, fmt.Errorf("removing the scratch folder on %s: %w", first.Name(), err)
	}
	for i, file := range []string{p.crt, p.key} {
		there, err := h.On(h.Target()).ReadFile(ctx, file)
		if err != nil {
			return nil, err
		}
		signed[i].Path, signed[i].Mode, signed[i].Owner = file, there.Mode, there.Owner
	}
	return signed, nil
}

// verifyClient opens every member from the node with the pair in the files,
// over connections of its own, as the API server will; and wants the API
// server ready. What it shows on the connections that it has is not to be
// seen: it showed that when they were made.
func (o Options) verifyClient(ctx context.Context, v phases.Reader) error {
	p, running, err := clientPair(ctx, v)
	if err != nil || !running {
		return orNotRunning(err, v.Target())
	}
	node := v.On(v.Target())
	l, err := o.lookAt(ctx, node, ClientID, []pair{p})
	if err != nil {
		return err
	}
	if err := l.better(v.Target()); err != nil {
		return err
	}
	key, err := keyPair(ctx, node, p)
	if err != nil {
		return err
	}
	roots, err := etcdRoots(ctx, v)
	if err != nil {
		return err
	}
	var endpoints []adapter.Endpoint
	for _, h := range v.Spec().EtcdMembers() {
		endpoints = append(endpoints, adapter.Endpoint{Host: h.Name, Address: net.JoinHostPort(h.Address, strconv.Itoa(etcdflags.EtcdClientPort)), Dial: node.DialContext})
	}
	members := adapter.New(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{key}, MinVersion: tls.VersionTLS12}, endpoints)
	defer members.Close()
	for _, a := range members.Statuses(ctx) {
		if a.Err != nil {
			return fmt.Errorf("with the new certificate, from %s: %w", v.Target(), a.Err)
		}
	}
	cfg, err := v.AdminConfigOn(ctx, v.Target())
	if err != nil {
		return err
	}
	return kube.Readyz(ctx, cfg)
}
