package preflight

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/etcdflags"
	"hamigrate/phases/consumers"
	"hamigrate/phases/etcdconfig"
)

// etcdUseChecks are about the old etcd: what must not outlive it, and who else uses it.
func etcdUseChecks() []Check {
	return []Check{
		{Number: 33, Name: "EtcdRescueFlags", Title: "The old etcd has no setting of a rescue, nor one that new members cannot have",
			Why:    "A --force-new-cluster that was left in makes of the next start a cluster of its own, and with other settings new members are refused, or lose what they have acknowledged.",
			Remedy: "take the setting out of /etc/kubernetes/manifests/etcd.yaml and of kubeadm-config, as a change of its own, before any member is added",
			On:     []Where{first(2)}, Look: etcdRescueFlags},
		{Number: 34, Name: "EtcdClients", Title: "It is known who else uses the old etcd",
			Why:    "The old etcd goes away with phase 2: an alert falls silent, a backup saves nothing, and a pod network that keeps its data there stands still.",
			Remedy: "point what is named to the new members; `migrate audit` lists it at any time",
			On:     []Where{first(2)}, Look: etcdClients},
		{Number: 35, Name: "EtcdData", Title: "etcd's data folders are what they should be",
			Why:    "Data of another cluster must be neither joined nor wiped, a disk that is read-only or away at the next start stops the member, and what is moved or emptied must be the folder that etcd really uses.",
			Remedy: "look at the folder: `ls -la /var/lib/etcd-external; findmnt -T /var/lib/etcd-external`",
			On:     []Where{first(2), etcdHosts(2)}, Look: etcdData},
	}
}

func etcdRescueFlags(ctx context.Context, s Scene) ([]Finding, error) {
	troubles, gone, err := etcdconfig.Troubles(ctx, s.Reader)
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

const restartCalico = "kubectl -n kube-system rollout restart daemonset calico-node deployment calico-kube-controllers"

// etcdClients names the listeners that go away with what takes their place, and
// whoever is seen to use the old member.
func etcdClients(ctx context.Context, s Scene) ([]Finding, error) {
	old, running, err := s.OldEtcdAsIs(ctx)
	if err != nil {
		return nil, err
	}
	if !running {
		return []Finding{fine("no old etcd runs on %s any more", s.Target())}, nil
	}
	use, err := consumers.EtcdClients(ctx, s.Reader, consumers.EtcdLimit)
	if err != nil {
		use.Unseen = append(use.Unseen, fmt.Sprintf("anything: %v", err))
	}
	clients, metrics := consumers.EtcdClientsInstead(s.Reader, old.Flags)
	var out []Finding
	if reached := etcdflags.ReachableListeners(old.Flags, s.First().Address); len(reached) > 0 {
		how := ""
		if strings.HasPrefix(metrics[0], "https:") {
			how = " (with a client certificate of etcd's CA, as before)"
		}
		out = append(out, warn("scrape "+strings.Join(metrics, ", ")+how+" from then on, and let the alerts name these; leave "+strings.Join(reached, ", ")+" among the targets until phase 2 is kept",
			"etcd's metrics are reachable at %s, which goes away with the old member; each new member is given its equal", strings.Join(reached, ", ")))
	}
	where := "; metrics are at port 2381 of each, for the host itself alone"
	if len(metrics) > 0 {
		where = "; for metrics " + strings.Join(metrics, ", ")
	}
	for _, c := range use.Clients {
		switch lacks := strings.Join(c.Lacks, ","); {
		case c.Network && c.Ready:
			out = append(out, warn("where its pods run since before it was changed: "+restartCalico+"; take the old one out after phase 2",
				"%s: the pod network keeps its data in the old etcd, and the new members are named beside it; a pod that read it before does not know them", c.What))
		case c.Ready:
		case c.Network:
			out = append(out, block("add "+lacks+" to it beside what is there, restart what reads it ("+restartCalico+"), and take the old one out after phase 2",
				"%s: the pod network keeps its data in the old etcd, and stands still when that goes; it does not name %s", c.What, lacks))
		default:
			out = append(out, warn("look what it is for, and point it to "+strings.Join(clients, ",")+where, "%s: it uses the old etcd, or names it", c.What))
		}
	}
	// It is for people to know: that it was not seen keeps nothing from being done.
	for _, u := range use.Unseen {
		out = append(out, warn("look yourself who else uses etcd on "+s.First().Name+", or fix what the message names; `migrate audit` looks again", "not looked at: %s", u))
	}
	if len(out) == 0 {
		out = append(out, fine("nobody besides the API server was seen, and its metrics are for the node alone"))
	}
	return out, nil
}

// memberPorts finds what would keep a member from listening on its host.
func memberPorts(ctx context.Context, s Scene) ([]Finding, error) {
	f, own := s.Facts(), s.Self()
	local := "127.0.0.1"
	want := []string{net.JoinHostPort(own.Address, strconv.Itoa(etcdflags.EtcdClientPort)), net.JoinHostPort(own.Address, strconv.Itoa(etcdflags.EtcdPeerPort)),
		net.JoinHostPort(local, strconv.Itoa(etcdflags.EtcdClientPort))}
	needed := slices.Clone(want)
	old, running, err := s.OldEtcdAsIs(ctx)
	if err != nil {
		return nil, err
	}
	var out []Finding
	if running {
		for _, flag := range etcdflags.MemberListeners(old.Flags, own) {
			for raw := range strings.SplitSeq(flag.Value, ",") {
				u, err := url.Parse(raw)
				if err != nil {
					return nil, fmt.Errorf("reading --%s: %w", flag.Name, err)
				}
				if slices.Contains(needed, u.Host) {
					out = append(out, block("give --"+flag.Name+" of the old member another port, as a change of its own", "--%s=%s would take %s, where the member itself listens", flag.Name, flag.Value, u.Host))
				}
				want = append(want, u.Host)
			}
		}
	}
	for _, w := range want {
		host, text, err := net.SplitHostPort(w)
		if err != nil {
			return nil, err
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		if f.listens(host, port) {
			out = append(out, block("end what listens there: `ss -ltnp 'sport = :"+text+"'`", "something listens on %s, where its member is to listen, and it is no member of the cluster", w))
		}
	}
	return out, nil
}
