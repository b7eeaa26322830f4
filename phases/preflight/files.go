package preflight

import (
	"context"
	"strings"

	"hamigrate/phases/controlplane"
)

// fileChecks are about the files of a node: what is backed up, and what is carried along.
func fileChecks() []Check {
	return []Check{
		{Number: 37, Name: "BootstrapToken", Title: "A bootstrap token may do what a join asks for",
			Why:    "kubeadm join reads kubeadm-config and asks for the kubelet's certificate with its token, and hangs or fails half way where a role was taken from it.",
			Remedy: "`kubeadm init phase bootstrap-token --skip-token-print` on the first node; it also opens cluster-info to everybody, so if that was closed: `kubectl -n kube-public delete rolebinding kubeadm:bootstrap-signer-clusterinfo`",
			On:     []Where{first(3)}, Look: bootstrapToken},
	}
}

// hostFiles says what phase 3 will bring, what it will replace, and what it
// leaves.
func hostFiles(ctx context.Context, s Scene) ([]Finding, error) {
	report, err := controlplane.HostFiles(ctx, s.View)
	if err != nil {
		return []Finding{block("", "%v", err)}, nil
	}
	var out []Finding
	for _, h := range report.Hinders {
		out = append(out, block(h.Remedy, "%s", h.Seen))
	}
	left := ""
	if len(report.Notes) > 0 {
		left = "; " + strings.Join(report.Notes, "; ")
	}
	switch {
	case len(report.Differs) > 0:
		out = append(out, warn("", "phase 3 will replace what differs: %s%s", strings.Join(report.Differs, ", "), left))
	case len(out) > 0:
	case report.Missing > 0:
		out = append(out, fine("phase 3 brings %d of %d files and folders%s", report.Missing, report.All, left))
	default:
		out = append(out, fine("all %d files and folders are there%s", report.All, left))
	}
	return out, nil
}
