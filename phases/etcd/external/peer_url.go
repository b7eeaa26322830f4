package external

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
	"hamigrate/phases/etcd/membership"
)

// peerURL corrects the stored peer URL of the old member. etcd goes by what
// it stored when the cluster was made, not by its flags; a cluster born with
// kubeadm 1.12 or older has https://localhost:2380 there, and a new member
// would look for the old one on itself (kubernetes/kubeadm#1950). listener is the
// step that makes the old member answer there.
func peerURL(with migrate.When, listener migrate.StepID) phases.Step {
	return phases.Step{
		ID:    peerURLID,
		Title: "Store the old member's real peer URL",
		Why:   "New members find the old one by the URL that etcd stored, not by its flags.",
		On:    migrate.FirstControlPlane,
		Needs: []migrate.StepID{listener},
		When:  with,
		ByHand: "```\nETCDCTL=\"kubectl -n kube-system exec etcd-{{.First.Name}} -- etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key\"\n" +
			"$ETCDCTL member list -w table\n$ETCDCTL member update <ID> --peer-urls=https://{{.First.Address}}:2380\n```\n",
		Check:  checkPeerURL,
		Apply:  applyPeerURL,
		Verify: verifyPeerURL,
		Undo:   undoPeerURL,
		Settle: 30 * time.Second, WaitsFor: "etcd",
	}
}

func checkPeerURL(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	members, _, err := membership.List(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	old, ok := membership.OldMember(members, v)
	if !ok {
		return phases.Done("%s has no member any more", v.Target()), nil
	}
	want := membership.PeerURL(v.First())
	if len(old.PeerURLs) == 1 && old.PeerURLs[0] == want {
		return phases.Done("the stored peer URL is %s", want), nil
	}
	before := strings.Join(old.PeerURLs, ",")
	running, up, err := v.OldEtcd(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	if up {
		if blocked, err := checkPeerCertificate(ctx, v, running); err != nil || blocked.Verdict == migrate.Blocked {
			return blocked, err
		}
	}
	f := phases.Need(migrate.Before{"peerURLs": before}, "the stored peer URL is %s", before)
	f.Changes = []migrate.Change{{Object: "etcd member " + old.Name + ": peer URL", Before: before + "\n", After: want + "\n"}}
	return f, nil
}

// checkPeerCertificate is Blocked where the old member's peer certificate lacks
// the address: newcomers check the name they dial against it.
func checkPeerCertificate(ctx context.Context, v phases.Reader, old phases.OldEtcd) (migrate.Finding, error) {
	cert, err := kube.ServedCertificate(ctx, v.On(v.Target()).DialContext, old.PeerAddress, nil)
	if err != nil {
		return migrate.Finding{}, err
	}
	if missing := kube.MissingNames(cert, []string{v.First().Address}); len(missing) > 0 {
		return phases.Block("move peer.crt and peer.key aside and run `kubeadm init phase certs etcd-peer` on "+v.Target()+"; etcd reads them again at the next connection",
			"the old member's peer certificate does not hold %s", v.First().Address), nil
	}
	return migrate.Finding{}, nil
}

func applyPeerURL(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	old, ok := membership.OldMember(members, h.Reader)
	if !ok {
		return errors.New("the old member is not in the member list")
	}
	if old.Learner {
		return errors.New("the old member is a learner: updating one would promote it silently (etcd-io/etcd#21694)")
	}
	return e.SetPeerURL(ctx, h.Target(), old.ID, membership.PeerURL(h.First()))
}

func verifyPeerURL(ctx context.Context, v phases.Reader) error {
	members, _, err := membership.List(ctx, v)
	if err != nil {
		return err
	}
	old, ok := membership.OldMember(members, v)
	if !ok || len(old.PeerURLs) != 1 || old.PeerURLs[0] != membership.PeerURL(v.First()) {
		return fmt.Errorf("the stored peer URL of the old member is not %s: %s", membership.PeerURL(v.First()), membership.Describe(members))
	}
	return nil
}

// undoPeerURL stores the URL of before. Others would not find the member by
// it, so it has to be the only one; and never a learner's (SetPeerURL).
func undoPeerURL(ctx context.Context, h phases.Writer, before migrate.Before) error {
	if before["peerURLs"] == "" {
		return errors.New("the journal does not say what the stored peer URL was before: set it back by hand with `etcdctl member update`, and run again")
	}
	e, err := h.Etcd(ctx)
	if err != nil {
		return err
	}
	members, err := e.Members(ctx)
	if err != nil {
		return err
	}
	old, ok := membership.OldMember(members, h.Reader)
	switch {
	case !ok:
		return errors.New("the old member is not in the member list")
	case strings.Join(old.PeerURLs, ",") == before["peerURLs"]:
		return nil
	case old.Learner:
		return errors.New("the old member is a learner: updating one would promote it silently (etcd-io/etcd#21694)")
	}
	if err := alone(ctx, h.Reader); err != nil {
		return fmt.Errorf("the stored peer URL stays: %w", err)
	}
	return e.SetPeerURL(ctx, h.Target(), old.ID, strings.Split(before["peerURLs"], ",")...)
}
