package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/kubeadm"
	"hamigrate/phases"
)

const (
	// clusterConfiguration is the key in the ConfigMap and in Before.
	clusterConfiguration = "ClusterConfiguration"
	// editsKey is where Before names the entries that the step changes.
	editsKey = "edits"
)

// kubeadmConfig makes kubeadm-config say what runs: a join renders each node's
// control plane from it and from nothing else (kubernetes/kubeadm#929). It takes
// the first node's own address out of what all nodes share
// (kubernetes/kubeadm#3175), and writes there what somebody gave to the first
// node's manifests by hand.
func kubeadmConfig() phases.Step {
	return phases.Step{
		ID:    kubeadmConfigID,
		Title: "Make kubeadm-config say what runs on the first node",
		Why:   "A join makes its control plane from kubeadm-config alone: what is only in the first node's manifests would be missing on the others, and an advertise-address there would break the kubernetes Service.",
		On:    migrate.Once,
		ByHand: "```\nkubectl -n kube-system edit cm kubeadm-config    # apiServer.extraArgs: no advertise-address\n" +
			"# on {{.First.Name}}: kubeadm shows what it would make; what runs and is missing there goes to extraArgs, extraVolumes and extraEnvs\n" +
			kubeadm.ConfigByHand + // kubeadm 1.32 and later write into the folder itself, older ones below tmp
			"mkdir -p -m 0700 $HOME/made\n" +
			"KUBEADM_INIT_DRYRUN_DIR=$HOME/made kubeadm init phase control-plane all --dry-run --config $HOME/kubeadm.yaml\n" +
			"for f in $HOME/made/kube-*.yaml $HOME/made/tmp/*/kube-*.yaml; do [ ! -e $f ] || diff $f /etc/kubernetes/manifests/${f##*/}; done\n" +
			"rm -r $HOME/made $HOME/cluster.yaml $HOME/kubeadm.yaml\n```\n",
		Check: checkKubeadmConfig,
		Apply: applyKubeadmConfig,
		Verify: func(ctx context.Context, v phases.Reader) error {
			f, err := checkKubeadmConfig(ctx, v)
			if err == nil && f.Verdict != migrate.Satisfied {
				err = errors.New(f.Reason)
			}
			return err
		},
		Undo:   undoKubeadmConfig,
		Settle: 10 * time.Second,
	}
}

// allJoined says whether no node is left to join.
func allJoined(ctx context.Context, v phases.Reader) (bool, error) {
	nodes, err := v.Nodes(ctx)
	if err != nil {
		return false, err
	}
	for _, h := range v.Spec().ControlPlane.Joining {
		if n, ok := nodes[h.Name]; !ok || !kube.IsControlPlane(n) {
			return false, nil
		}
	}
	return true, nil
}

func checkKubeadmConfig(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	o, err := LookAhead(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	if in := slices.Concat(o.Shared, o.Obstacles); len(in) > 0 {
		seen, remedy := summary(in)
		return phases.Block(remedy, "%s", seen), nil
	}
	if o.Joined && !o.pinned {
		return phases.Done("kubeadm-config holds no advertise-address, and every node has joined"), nil
	}
	if len(o.edits()) == 0 {
		return phases.Done("%s", strings.Join(append([]string{"what kubeadm makes of kubeadm-config is what runs on " + v.First().Name}, o.Notes...), "; but for ")), nil
	}
	edits, err := json.Marshal(o.edits())
	if err != nil {
		return migrate.Finding{}, err
	}
	// The text holds secrets where extraEnvs do; see docs/journal.md.
	f := phases.Need(migrate.Before{clusterConfiguration: o.text, editsKey: string(edits)}, "%s", o.reason(v.First().Name))
	f.Changes = []migrate.Change{{Object: "ConfigMap kube-system/kubeadm-config", Before: o.before.Shown(), After: o.want.Shown()}}
	return f, nil
}

// edits are the entries that the step changes.
func (o Outlook) edits() []kube.Edit {
	var out []kube.Edit
	if o.pinned {
		out = append(out, kube.Edit{Component: kube.APIServer, Field: kube.ExtraArgs, Name: "advertise-address"})
	}
	for _, w := range o.Edits {
		out = append(out, w.Edit)
	}
	return out
}

func (o Outlook) reason(first string) string {
	var out []string
	if o.pinned {
		out = append(out, "kubeadm-config holds the first node's advertise-address for all")
	}
	if len(o.Edits) > 0 {
		var what []string
		for _, w := range o.Edits {
			what = append(what, w.Sentence)
		}
		out = append(out, fmt.Sprintf("kubeadm-config lacks what runs on %s: %s", first, strings.Join(what, ", ")))
	}
	return strings.Join(append(out, o.Notes...), "; ")
}

// applyKubeadmConfig looks ahead once more: what it writes is what kubeadm has
// been asked about, or nothing.
func applyKubeadmConfig(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	o, err := LookAhead(ctx, h.Reader)
	if err != nil {
		return err
	}
	if in := slices.Concat(o.Shared, o.Obstacles); len(in) > 0 {
		seen, _ := summary(in)
		return errors.New(seen)
	}
	if len(o.edits()) == 0 {
		return nil
	}
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	return k.EditConfigMap(ctx, "kube-system", "kubeadm-config", func(data map[string]string) error {
		switch data[clusterConfiguration] {
		case o.want.String(): // an attempt whose answer was lost has done it
		case o.text:
			data[clusterConfiguration] = o.want.String()
		default:
			return errors.New("somebody changed it at this very moment: run again")
		}
		return nil
	})
}

// undoKubeadmConfig puts the text of before back. Where kubeadm-config has got
// other changes since, it would lose them, and refuses.
func undoKubeadmConfig(ctx context.Context, h phases.Writer, before migrate.Before) error {
	k, err := h.Kube(ctx)
	if err != nil {
		return err
	}
	text := before[clusterConfiguration]
	old, err := kube.ParseClusterConfiguration(text)
	if err != nil {
		return fmt.Errorf("reading the previous kubeadm-config: %w", err)
	}
	edits, err := recordedEdits(before)
	if err != nil {
		return err
	}
	cm, err := k.ConfigMap(ctx, "kube-system", "kubeadm-config")
	if err != nil {
		return err
	}
	if cm.Data[clusterConfiguration] == text {
		return nil
	}
	return k.EditConfigMap(ctx, "kube-system", "kubeadm-config", func(data map[string]string) error {
		if data[clusterConfiguration] == text {
			return nil // an attempt whose answer was lost has done it
		}
		now, err := kube.ParseClusterConfiguration(data[clusterConfiguration])
		if err != nil {
			return err
		}
		if !now.Without(edits).Same(old.Without(edits)) {
			var what []string
			for _, e := range edits {
				what = append(what, e.String())
			}
			return fmt.Errorf("it was changed since the step edited it: make these entries what they were (`kubectl -n kube-system edit cm kubeadm-config`) and roll back again: %s", strings.Join(what, ", "))
		}
		data[clusterConfiguration] = text
		return nil
	})
}

// recordedEdits are those of Before; a journal of an earlier version of this
// program names none, and the step took advertise-address out then.
func recordedEdits(before migrate.Before) ([]kube.Edit, error) {
	list, ok := before[editsKey]
	if !ok {
		return []kube.Edit{{Component: kube.APIServer, Field: kube.ExtraArgs, Name: "advertise-address"}}, nil
	}
	var edits []kube.Edit
	if err := json.Unmarshal([]byte(list), &edits); err != nil {
		return nil, fmt.Errorf("reading the previous edits: %w", err)
	}
	return edits, nil
}
