package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const joinID = "controlplane/join"

// join makes the host a control-plane node with kubeadm.
func join() phases.Step {
	return phases.Step{
		ID:      joinID,
		Title:   "Join the node to the control plane",
		Why:     "kubeadm knows best how its version wires a control-plane node.",
		On:      migrate.JoiningControlPlanes,
		Rolling: true,
		Needs:   []migrate.StepID{hostFilesID},
		ByHand: "```\n# on {{.First.Name}}, with the ClusterConfiguration that names etcd.external (else its certificates are left out)\nkubeadm init phase upload-certs --upload-certs --config kubeadm.yaml\nkubeadm token create --print-join-command\n" +
			"# on {{.Target}}\nkubeadm join {{.Endpoint}} --control-plane …\n```\n",
		Check:  checkJoin,
		Apply:  applyJoin,
		Verify: verifyJoin,
		OneWay: phases.NotYet,
		Settle: 5 * time.Minute,
	}
}

func checkJoin(ctx context.Context, v phases.View) (migrate.Finding, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	n, ok := nodes[v.Target()]
	if ok && kube.IsControlPlane(n) {
		if err := verifyJoin(ctx, v); err == nil {
			return phases.Done("it is a control-plane node and its API server is ready"), nil
		}
	}
	if ok && !kube.IsControlPlane(n) {
		return phases.Block("drain it, run `kubeadm reset` on it and delete the node, or name another host in spec.controlPlane.joining",
			"%s is a worker of this cluster", v.Target()), nil
	}
	if _, err := v.On(v.Target()).Look(ctx, remote.Command{Script: "command -v kubeadm kubelet >/dev/null"}); err != nil {
		return phases.Block("install the same kubeadm and kubelet as on "+v.First().Name, "%s lacks kubeadm or kubelet", v.Target()), nil
	}
	return phases.Need(migrate.Before{"node": fmt.Sprintf("in the cluster: %t", ok)}, "it is not a control-plane node with a ready API server"), nil
}

// applyJoin joins the node, again from the start when an earlier attempt
// left it half-joined: kubeadm's own preflight refuses to go on from there.
func applyJoin(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return err
	}
	if _, external := cc.ExternalEtcd(); !external || cc.ControlPlaneEndpoint() == "" {
		return errors.New("kubeadm-config names no external etcd or no control-plane endpoint: phases 1 and 2 come first")
	}
	if err := clean(ctx, h); err != nil {
		return err
	}
	secrets, err := newSecrets()
	if err != nil {
		return err
	}
	err = joinWith(ctx, h, k, cc, secrets)
	// What was made for the join goes away whatever became of it.
	tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err,
		k.DeleteSecret(tidy, "kube-system", "bootstrap-token-"+secrets.token.ID),
		k.DeleteSecret(tidy, "kube-system", "kubeadm-certs"),
		h.On(h.Target()).Remove(tidy, joinFile),
		h.On(h.First().Name).Remove(tidy, uploadFile))
}

// clean resets what an earlier attempt left on the host. It is safe here:
// the host is none of the etcd hosts (the spec refuses that), it has no
// member, and the skipped phase is the one that would touch etcd's
// membership (kubernetes/kubeadm#3225).
func clean(ctx context.Context, h phases.Hands) error {
	host := h.On(h.Target())
	_, err := host.ReadFile(ctx, "/etc/kubernetes/kubelet.conf")
	bootstrap, errBootstrap := host.ReadFile(ctx, "/etc/kubernetes/bootstrap-kubelet.conf")
	manifests, errList := host.List(ctx, kube.ManifestsDir)
	if errList != nil && !errors.Is(errList, fs.ErrNotExist) {
		return errList
	}
	leftovers := err == nil || errBootstrap == nil && bootstrap.Path != "" || slices.Contains(manifests, "kube-apiserver.yaml")
	if !leftovers {
		return nil
	}
	if _, err := host.Run(ctx, remote.Cmd("kubeadm", "reset", "--force", "--skip-phases=remove-etcd-member")); err != nil {
		return fmt.Errorf("cleaning %s after an earlier attempt: %w", h.Target(), err)
	}
	return nil
}

// verifyJoin wants a ready API server of the target's own, with the three
// members and its own address, and a Ready node without an etcd of its own.
func verifyJoin(ctx context.Context, v phases.View) error {
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
	mine, running, err := v.APIServer(ctx, v.Target())
	if err != nil {
		return err
	}
	theirs, firstRunning, err := v.APIServer(ctx, v.First().Name)
	if err != nil {
		return err
	}
	if !running || !firstRunning {
		return errors.New("an API server does not run")
	}
	if err := sameArguments(mine.Flags, theirs.Flags, v.Self().Address); err != nil {
		return fmt.Errorf("comparing the API servers of %s and %s: %w", v.Target(), v.First().Name, err)
	}
	cfg, err := v.AdminConfigOn(ctx, v.Target())
	if err != nil {
		return err
	}
	if err := kube.Readyz(ctx, cfg); err != nil {
		return err
	}
	names, err := v.On(v.Target()).List(ctx, kube.ManifestsDir)
	if err != nil {
		return err
	}
	if slices.Contains(names, "etcd.yaml") {
		return fmt.Errorf("%s got an etcd member of its own", v.Target())
	}
	return nil
}

// sameArguments: two API servers of one cluster differ in nothing but their
// own address. An advertise-address or etcd-servers of the first node that
// was copied along breaks the Service or the HA (kubernetes/kubeadm#3175).
func sameArguments(mine, theirs kube.Flags, address string) error {
	if a, _ := mine.Get("advertise-address"); a != address {
		return fmt.Errorf("--advertise-address is %s, not %s", a, address)
	}
	for _, f := range theirs {
		if f.Name == "advertise-address" {
			continue
		}
		if have, ok := mine.Get(f.Name); !ok || have != last(theirs, f.Name) {
			return fmt.Errorf("--%s is %q, not %q", f.Name, have, f.Value)
		}
	}
	return nil
}

func last(flags kube.Flags, name string) string {
	v, _ := flags.Get(name)
	return v
}
