package loadbalancer

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// kubeadmConfig tells kubeadm of the endpoint, for joins and upgrades to come.
func kubeadmConfig() phases.Step {
	return phases.Step{
		ID:    "loadbalancer/kubeadm-config",
		Title: "Set controlPlaneEndpoint and certSANs in kubeadm-config",
		Why:   "Joins and upgrades write files from it: without this the next upgrade would undo the certificate, and no control-plane node could join.",
		On:    migrate.Once,
		Needs: []migrate.StepID{endpointID, endpointNameID},
		ByHand: "```\nkubectl -n kube-system edit cm kubeadm-config\n" +
			"# controlPlaneEndpoint: {{.Endpoint}}\n# apiServer.certSANs: add the endpoint's host and the load balancer's address\n```\n",
		Check: checkKubeadmConfig,
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			k, err := h.Kube(ctx)
			if err != nil {
				return err
			}
			names, err := handMadeNames(ctx, h.Reader)
			if err != nil {
				return err
			}
			return k.EditClusterConfiguration(ctx, func(cc kube.ClusterConfiguration) { editEndpoint(cc, h.Reader, names) })
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
			k, err := v.Kube(ctx)
			if err != nil {
				return err
			}
			cc, err := k.ClusterConfiguration(ctx)
			if err != nil {
				return err
			}
			if editEndpoint(cc, v, nil) {
				return fmt.Errorf("kubeadm-config does not hold the endpoint and its names: somebody changed it back")
			}
			return nil
		},
		Undo:   undoKubeadmConfig,
		Settle: 10 * time.Second,
	}
}

func checkKubeadmConfig(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	k, err := v.Kube(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	cm, err := k.ConfigMap(ctx, "kube-system", "kubeadm-config")
	if err != nil {
		return migrate.Finding{}, err
	}
	text := cm.Data[clusterConfiguration]
	cc, err := kube.ParseClusterConfiguration(text)
	if err != nil {
		return migrate.Finding{}, err
	}
	names, err := handMadeNames(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	shown := cc.Shown()
	if !editEndpoint(cc, v, names) {
		return phases.Done("controlPlaneEndpoint is %s", v.EndpointAddress()), nil
	}
	f := phases.Need(migrate.Before{clusterConfiguration: text}, "kubeadm-config does not name the endpoint")
	f.Changes = []migrate.Change{{Object: "ConfigMap kube-system/kubeadm-config", Before: shown, After: cc.Shown()}}
	return f, nil
}

// undoKubeadmConfig brings the text of before back.
func undoKubeadmConfig(ctx context.Context, h phases.Writer, before migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	cm, err := k.ConfigMap(ctx, "kube-system", "kubeadm-config")
	if err != nil {
		return err
	}
	old, err := recorded(before, clusterConfiguration, "the ClusterConfiguration in ConfigMap kube-system/kubeadm-config")
	if err != nil {
		return err
	}
	text, err := withoutEndpoint(h.Reader, cm.Data[clusterConfiguration], old)
	if err != nil || text == cm.Data[clusterConfiguration] {
		return err
	}
	return k.EditConfigMap(ctx, "kube-system", "kubeadm-config", func(data map[string]string) (err error) {
		data[clusterConfiguration], err = withoutEndpoint(h.Reader, data[clusterConfiguration], old)
		return err
	})
}

// withoutEndpoint returns the text of before where nothing but our edit was
// made since. Where kubeadm upgraded the cluster meanwhile, or somebody edited
// it, only controlPlaneEndpoint goes back: more names harm nobody.
func withoutEndpoint(v phases.Reader, now, old string) (string, error) {
	cc, err := kube.ParseClusterConfiguration(now)
	if err != nil {
		return "", err
	}
	made, err := kube.ParseClusterConfiguration(old)
	if err != nil {
		return "", err
	}
	former := made.ControlPlaneEndpoint()
	editEndpoint(made, v, cc.CertSANs())
	switch {
	case made.String() == now:
		return old, nil
	case now == old || cc.ControlPlaneEndpoint() != v.EndpointAddress():
		return now, nil
	case former == "":
		return endpointLine.ReplaceAllString(now, ""), nil
	}
	cc.SetControlPlaneEndpoint(former)
	return cc.String(), nil
}

var endpointLine = regexp.MustCompile(`(?m)^controlPlaneEndpoint:.*\n?`)

// clusterConfiguration is the key in the ConfigMap and in Before.
const clusterConfiguration = "ClusterConfiguration"

// handMadeNames are those names of the first API server's certificate that
// kubeadm would not put into one of another node: somebody added them, and
// clients use them through the load balancer, too.
func handMadeNames(ctx context.Context, v phases.Reader) ([]string, error) {
	cert, err := served(ctx, v.Access().Reader(v.First().Name))
	if err != nil {
		return nil, err
	}
	k, err := v.Kube(ctx)
	if err != nil {
		return nil, err
	}
	service, err := k.ServiceIP(ctx, "default", "kubernetes")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range kube.Names(cert) {
		if n == v.First().Name || n == v.First().Address || n == service || n == "kubernetes" || strings.HasPrefix(n, "kubernetes.default") {
			continue
		}
		out = append(out, n)
	}
	return out, nil
}

// editEndpoint makes the edit and says whether there was one to make.
func editEndpoint(cc kube.ClusterConfiguration, v phases.Reader, more []string) bool {
	changed := cc.AddCertSANs(append(wantedNames(v), more...)...)
	if old, _, err := net.SplitHostPort(cc.ControlPlaneEndpoint()); err == nil {
		// Clients that still use the endpoint of before come to any API server.
		changed = cc.AddCertSANs(old) || changed
	}
	if cc.ControlPlaneEndpoint() != v.EndpointAddress() {
		cc.SetControlPlaneEndpoint(v.EndpointAddress())
		changed = true
	}
	return changed
}
