package preflight

import (
	"context"
)

// etcdUseChecks are about the old etcd: what must not outlive it, and who else uses it.
func etcdUseChecks() []Check {
	return []Check{
		{Number: 33, Name: "EtcdRescueFlags", Title: "The old etcd has no setting of a rescue, nor one that new members cannot have",
			Why:    "A --force-new-cluster that was left in makes of the next start a cluster of its own, and with other settings new members are refused, or lose what they have acknowledged.",
			Remedy: "take the setting out of /etc/kubernetes/manifests/etcd.yaml and of kubeadm-config, as a change of its own, before any member is added",
			On:     []Where{first(2)}, Look: etcdRescueFlags},
	}
}

func etcdRescueFlags(ctx context.Context, s Scene) ([]Finding, error) {
	troubles, gone, err := s.EtcdTroubles(ctx)
	if err != nil {
		return nil, err
	}
	if gone {
		return []Finding{fine("there is no old etcd on %s any more", s.Target())}, nil
	}
	var out []Finding
	for _, t := range troubles {
		if t.Stops {
			out = append(out, block(t.Remedy, "%s", t.Seen))
		} else {
			out = append(out, warn(t.Remedy, "%s", t.Seen))
		}
	}
	if len(out) == 0 {
		out = append(out, fine("manifest, process and kubeadm-config have none"))
	}
	return out, nil
}
