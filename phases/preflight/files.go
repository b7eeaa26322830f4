package preflight

import (
	"context"
	"fmt"
	"strings"

	"hamigrate/migrate/nodefiles"
	"hamigrate/phases/controlplane"
)

// fileChecks are about the files of a node: what is backed up, and what is carried along.
func fileChecks() []Check {
	return []Check{
		{Number: 36, Name: "BackupFiles", Title: "A backup can take what it has to",
			Why:    "Phases 2 and 3 begin with a backup of /etc/kubernetes, and do not begin where that fails.",
			Remedy: "nothing, if nobody needs it in a backup; else copy it yourself",
			On:     []Where{first(2, 3)}, Look: backupFiles},
		{Number: 37, Name: "BootstrapToken", Title: "A bootstrap token may do what a join asks for",
			Why:    "kubeadm join reads kubeadm-config and asks for the kubelet's certificate with its token, and hangs or fails half way where a role was taken from it.",
			Remedy: "`kubeadm init phase bootstrap-token --skip-token-print` on the first node; it also opens cluster-info to everybody, so if that was closed: `kubectl -n kube-public delete rolebinding kubeadm:bootstrap-signer-clusterinfo`",
			On:     []Where{first(3)}, Look: bootstrapToken},
	}
}

// backupFiles asks what a backup would take, and says what it would not beside
// what no backup has: the CAs' keys.
func backupFiles(ctx context.Context, s Scene) ([]Finding, error) {
	k, err := s.Kube(ctx)
	if err != nil {
		return nil, err
	}
	cc, err := k.ClusterConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	listing, err := nodefiles.List(ctx, s.On(s.Target()), cc.CertificatesDir())
	if err != nil {
		return []Finding{block("put it there, or set certificatesDir in kubeadm-config to the folder that has the certificates; without a backup: `migrate run --no-backup`", "a backup would fail: %v", err)}, nil
	}
	var logs int
	var out []Finding
	for _, l := range listing.LeftOut {
		switch {
		case l.Rule:
		case l.Log:
			logs++
		default:
			out = append(out, warn("", "a backup would not have %s: %s", l.Path, l.Why))
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	more := ""
	if logs > 0 {
		more = fmt.Sprintf(", and leaves out %d logs that the control plane writes there", logs)
	}
	return []Finding{fine("a backup takes %d files and links%s", len(listing.Files), more)}, nil
}

// hostFiles says what phase 3 will bring, what it will replace, and what it
// leaves.
func hostFiles(ctx context.Context, s Scene) ([]Finding, error) {
	report, err := controlplane.HostFiles(ctx, s.Reader)
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
