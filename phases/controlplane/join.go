package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/etcd"
)

// join makes the host a control-plane node with kubeadm.
func join() phases.Step {
	return phases.Step{
		ID:      joinID,
		Title:   "Join the node to the control plane",
		Why:     "kubeadm knows best how its version wires a control-plane node.",
		On:      migrate.JoiningControlPlanes,
		Rolling: true,
		Needs:   []migrate.StepID{kubeadmConfigID, hostFilesID},
		ByHand: "```\n# on {{.First.Name}}, with a ClusterConfiguration that names etcd.external (else its certificates are left out)\n" + kubeadm.ConfigByHand + "kubeadm init phase upload-certs --upload-certs --config $HOME/kubeadm.yaml\nrm $HOME/cluster.yaml $HOME/kubeadm.yaml\nkubeadm token create\n" +
			"# on {{.Target}}: discovery.conf, mode 0600, is a kubeconfig with https://{{.Endpoint}}, the cluster's CA and the token as its user\n" +
			"kubeadm join --config join.yaml    # discovery.file and tlsBootstrapToken, nodeRegistration.criSocket, controlPlane.certificateKey{{if .Patches}}, patches.directory: {{.Patches}}{{end}}{{if .Ignored}}, nodeRegistration.ignorePreflightErrors: [{{.Ignored}}]{{end}}\n```\n",
		Check:  checkJoin,
		Apply:  applyJoin,
		Verify: verifyJoin,
		Undo:   undoJoin,
		Settle: 5 * time.Minute, WaitsFor: "kubelet",
	}
}

// joinMarker says on the target that this tool began to join it. It is there
// from before the first change until everything made for the join is tidied
// away, and is what tells a half-joined node from somebody's worker.
const joinMarker = hostfiles.StateDir + "/joining"

// standing is where a target stands between "not in the cluster" and done.
type standing struct {
	node    bool // there is a Node object
	plane   bool // it is marked as control plane: kubeadm's last step but one
	begun   bool // our marker is there
	leaving bool // that of our way back is
	kubelet bool // the host's kubelet belongs to some cluster
}

func whereItStands(ctx context.Context, v phases.Reader) (standing, error) {
	var s standing
	err := parallel.Do(
		func() error {
			nodes, err := v.Nodes(ctx)
			n, ok := nodes[v.Target()]
			s.node, s.plane = ok, ok && kube.IsControlPlane(n)
			return err
		},
		func() (err error) { s.begun, err = there(ctx, v.On(v.Target()), joinMarker); return err },
		func() (err error) { s.leaving, err = there(ctx, v.On(v.Target()), leaveMarker); return err },
		func() (err error) {
			s.kubelet, err = there(ctx, v.On(v.Target()), "/etc/kubernetes/kubelet.conf")
			return err
		})
	return s, err
}

func there(ctx context.Context, r remote.Reader, file string) (bool, error) {
	_, err := r.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func checkJoin(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	s, err := whereItStands(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	before := migrate.Before{"node": fmt.Sprintf("in the cluster: %t", s.node)}
	switch {
	case s.leaving:
		return phases.Need(before, "an earlier rollback left it half-removed"), nil
	case s.plane && s.begun:
		return phases.Need(before, "it has joined, but what was made for the join is still there"), nil
	case s.plane:
		if err := verifyJoin(ctx, v); err != nil {
			return phases.Need(before, "it is a control-plane node, but %v", err), nil
		}
		return phases.Done("it is a control-plane node and its API server is ready"), nil
	case s.begun:
		return phases.Need(before, "an earlier attempt left it half-joined"), nil
	case s.node:
		return phases.Block("drain it, run `kubeadm reset` on it and delete the node, or name another host in spec.controlPlane.joining",
			"%s is a worker of this cluster", v.Target()), nil
	case s.kubelet:
		return phases.Block("run `kubeadm reset` on it if nobody needs what it is part of, or name another host in spec.controlPlane.joining",
			"%s has an /etc/kubernetes/kubelet.conf and is no node of this cluster", v.Target()), nil
	}
	switch has, err := hostfiles.Confirms(ctx, v.On(v.Target()), remote.Command{Script: "command -v kubeadm kubelet >/dev/null"}); {
	case err != nil:
		return migrate.Finding{}, err
	case !has:
		return phases.Block("install the same kubeadm and kubelet as on "+v.First().Name, "%s lacks kubeadm or kubelet", v.Target()), nil
	}
	if before["kubelet"], err = kubeletState(ctx, v.On(v.Target())); err != nil {
		return migrate.Finding{}, err
	}
	return phases.Need(before, "it is not in the cluster"), nil
}

// applyJoin joins the node. A node that has joined is never reset, whatever
// its state is at this moment: it may carry traffic. One that an attempt of
// ours left half-joined is reset first, because kubeadm's preflight refuses to
// go on from there.
func applyJoin(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	s, err := whereItStands(ctx, h.Reader)
	if err != nil {
		return err
	}
	if s.plane && !s.leaving {
		return tidy(ctx, h, k)
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return err
	}
	if !etcd.Of(h.Spec()).MayJoin(cc) || cc.ControlPlaneEndpoint() == "" {
		return errors.New("kubeadm-config names no external etcd or no control-plane endpoint: phases 1 and 2 come first")
	}
	if s.begun || s.leaving {
		if err := unjoin(ctx, h, k, nil); err != nil {
			return err
		}
	}
	if err := hostfiles.MakeStateDir(ctx, h.On(h.Target())); err != nil {
		return err
	}
	if err := saveForeign(ctx, h.On(h.Target()), cc.CertificatesDir()); err != nil {
		return err
	}
	if err := hostfiles.MakeStateDir(ctx, h.On(h.First().Name)); err != nil {
		return err
	}
	if err := h.On(h.Target()).WriteFile(ctx, remote.File{Path: joinMarker, Data: []byte("migrate joins this host to the control plane\n"), Mode: 0o600}); err != nil {
		return err
	}
	secrets, err := newSecrets()
	if err != nil {
		return err
	}
	err = joinWith(ctx, h, k, cc, secrets)
	if errors.Is(err, remote.ErrUnknownOutcome) {
		// kubeadm may still be at work with the secrets. The step will be taken
		// up again, when that has ended, and tidies then.
		return err
	}
	// The secrets made for the join go away whatever became of it; the marker
	// stays until it has succeeded.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err != nil {
		return errors.Join(err, tidySecrets(after, h, k))
	}
	return tidy(after, h, k)
}

// tidy removes what was made for the join, the marker last.
func tidy(ctx context.Context, h phases.Writer, k kube.Client) error {
	if err := tidySecrets(ctx, h, k); err != nil {
		return err
	}
	return h.On(h.Target()).Remove(ctx, joinMarker)
}

func tidySecrets(ctx context.Context, h phases.Writer, k kube.Client) error {
	return errors.Join(
		k.DeleteOwnTokens(ctx),
		k.DeleteUploadedCerts(ctx),
		h.On(h.Target()).Remove(ctx, joinFile),
		h.On(h.Target()).Remove(ctx, discoveryFile),
		h.On(h.First().Name).Remove(ctx, uploadFile))
}

// verifyJoin wants a ready API server of the target's own, all three components
// as they run on the first node but for its own address (another advertise-address
// or other etcd-servers break the Service or the HA: kubernetes/kubeadm#3175), and
// a Ready node without an etcd of its own.
func verifyJoin(ctx context.Context, v phases.Reader) error {
	k, err := v.KubeOn(ctx, v.Target())
	if err != nil {
		return err
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return err
	}
	n, ok := nodes[v.Target()]
	if !ok || !kube.IsControlPlane(n) || !kube.Ready(n) {
		return fmt.Errorf("%s is not a Ready control-plane node", v.Target())
	}
	return parallel.Do(
		func() error { return SameComponents(ctx, v, v.Target()) },
		func() error {
			cfg, err := v.AdminConfigOn(ctx, v.Target())
			if err != nil {
				return err
			}
			return kube.Readyz(ctx, cfg)
		},
		func() error { return etcd.Of(v.Spec()).Joined(ctx, v) })
}

// undoJoin takes the node out of the cluster and makes its host what it was. A
// host that the step did not join is left alone.
func undoJoin(ctx context.Context, h phases.Writer, before migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	s, err := whereItStands(ctx, h.Reader)
	if err != nil {
		return err
	}
	switch {
	case s.begun || s.leaving || s.plane:
		return unjoin(ctx, h, k, before)
	case s.node:
		return fmt.Errorf("%s is a worker of this cluster now: it stays; drain it and run `kubeadm reset` on it if it is to go", h.Target())
	case s.kubelet:
		return fmt.Errorf("%s has an /etc/kubernetes/kubelet.conf and is no node of this cluster: run `kubeadm reset` on it if nobody needs what it is part of", h.Target())
	}
	return nil
}

// unjoin takes back what an attempt of ours did, whole or in part: also before
// another one, because kubeadm's preflight refuses to go on from there. The
// markers go when all is as it was, so that it is begun again until then.
func unjoin(ctx context.Context, h phases.Writer, k kube.Client, before migrate.Before) error {
	if err := leave(ctx, h, k); err != nil {
		return err
	}
	if err := tidySecrets(ctx, h, k); err != nil {
		return err
	}
	host := h.On(h.Target())
	if err := putForeignBack(ctx, host); err != nil {
		return err
	}
	// A reset empties the certificates folder, files of the operator's with it.
	if err := bringBack(ctx, h); err != nil {
		return err
	}
	if err := kubeletAsBefore(ctx, host, before["kubelet"]); err != nil {
		return err
	}
	if err := host.Remove(ctx, joinMarker); err != nil {
		return err
	}
	if err := host.Remove(ctx, leaveMarker); err != nil {
		return err
	}
	return forgetForeign(ctx, host)
}
