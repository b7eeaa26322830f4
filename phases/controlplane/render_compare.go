package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/cluster"
	"hamigrate/migrate/kube"
	"hamigrate/phases"
)

// Outlook is what joins will make, known before the first of them.
type Outlook struct {
	// Edits are what kubeadm-config lacks of what runs on the first
	// control-plane node, and will be given.
	Edits []Written
	// Obstacles are differences that kubeadm-config can't take away.
	Obstacles []Obstacle
	// Shared are values that must not be the same on two nodes.
	Shared []Obstacle
	// Notes are differences that do not matter.
	Notes []string
	// Joined: no node is left to join, and nothing was compared. What is changed
	// on the nodes since is their owner's.
	Joined bool

	text         string // kubeadm-config as it stands in the ConfigMap
	before, want kube.ClusterConfiguration
	pinned       bool // it had the first node's advertise-address
}

// Written is an edit of kubeadm-config, in words.
type Written struct {
	kube.Edit
	Sentence string
}

// Obstacle is why joins are not begun.
type Obstacle struct {
	Node   string // the joining node, or the first one
	Seen   string
	Remedy string
}

// outlook is one look ahead.
type outlook struct {
	phases.Reader
	Outlook
	live    map[kube.Component]running
	joining []joiningNode
	made    []map[kube.Component]kube.Manifest // for each joining node
}

// LookAhead lets kubeadm render what a join of each joining node would make,
// and compares it with what runs on the first one. `kubeadm join` works from
// kubeadm-config alone (kubernetes/kubeadm#929).
func LookAhead(ctx context.Context, v phases.Reader) (Outlook, error) {
	o := &outlook{Reader: v}
	if err := o.read(ctx); err != nil {
		return Outlook{}, err
	}
	if o.Joined {
		return o.Outlook, nil
	}
	if err := o.render(ctx); err != nil {
		return Outlook{}, err
	}
	changed, err := o.write()
	if err != nil {
		return Outlook{}, err
	}
	if changed {
		// kubeadm says what comes of it: a value of ours may bring others along.
		if err := o.render(ctx); err != nil {
			return Outlook{}, err
		}
	}
	if err := o.judge(ctx); err != nil {
		return Outlook{}, err
	}
	return o.Outlook, nil
}

func (o *outlook) read(ctx context.Context) error {
	o.joining = make([]joiningNode, len(o.Spec().ControlPlane.Joining))
	return parallel.Do(
		func() error {
			k, err := o.Kube(ctx)
			if err != nil {
				return err
			}
			cm, err := k.ConfigMap(ctx, "kube-system", "kubeadm-config")
			if err != nil {
				return err
			}
			o.text = cm.Data[clusterConfiguration]
			if o.before, err = kube.ParseClusterConfiguration(o.text); err != nil {
				return err
			}
			o.want = o.before.Clone()
			o.pinned = o.want.DropAdvertiseAddress()
			return nil
		},
		func() (err error) { o.Joined, err = allJoined(ctx, o.Reader); return err },
		func() (err error) { o.live, err = componentsOn(ctx, o.Reader, o.First().Name); return err },
		func() error {
			return parallel.Each(o.Spec().ControlPlane.Joining, func(i int, h cluster.Host) (err error) {
				o.joining[i], err = lookAtJoining(ctx, o.Reader, h)
				return err
			})
		})
}

func (o *outlook) render(ctx context.Context) error {
	o.made = make([]map[kube.Component]kube.Manifest, len(o.joining))
	for i, j := range o.joining { // one after the other: it is one node's CPU
		var err error
		if o.made[i], err = render(ctx, o.Reader, o.want, j); err != nil {
			return err
		}
	}
	return nil
}

// sides are a component of the first node and of the i-th joining one. Before
// phase 2 the way to etcd is not looked at: that phase changes it here and there.
func (o *outlook) sides(i int, c kube.Component) kube.Sides {
	_, external := o.before.ExternalEtcd()
	return kube.Sides{Component: c, Live: o.live[c].manifest, LiveOwn: own(o.First()),
		Made: o.made[i][c], MadeOwn: own(o.joining[i].Host), WithoutEtcd: !external}
}

func own(h cluster.Host) kube.Own { return kube.Own{Name: h.Name, Address: h.Address} }

// write gives kubeadm-config what it can take of what runs. What it says of a
// flag that runs with another value is overwritten: what runs is what clients
// have. Nothing is taken out of it: whether a flag that runs nowhere was
// forgotten here or is to come there is not for us to say.
func (o *outlook) write() (changed bool, err error) {
	written := map[kube.Edit]bool{}
	for i := range o.joining {
		for _, c := range kube.Components() {
			list, err := o.sides(i, c).Compare()
			if err != nil {
				return false, err
			}
			for _, d := range list {
				if !d.Writable() || written[d.Edit()] || electionFlag(d) {
					continue
				}
				if err := d.WriteTo(o.want); errors.Is(err, kube.ErrNotExpressible) {
					continue
				} else if err != nil {
					return false, err
				}
				written[d.Edit()] = true
				sentence := fmt.Sprintf("%s of %s", d.What(), c)
				if o.before.Has(d.Edit()) {
					sentence += ", for which it has another value"
				}
				o.Edits = append(o.Edits, Written{d.Edit(), sentence})
			}
		}
	}
	return len(written) > 0, nil
}

// electionFlag: on is the default, and off is never copied.
func electionFlag(d kube.Difference) bool {
	return d.Field == kube.ExtraArgs && d.Name == "leader-elect"
}

// judge looks at what kubeadm would make with the edits.
func (o *outlook) judge(ctx context.Context) error {
	if err := o.judgeLive(); err != nil {
		return err
	}
	slight := map[string]bool{}
	for i, j := range o.joining {
		if j.noPatches {
			dir := o.Spec().ControlPlane.Join.Patches
			o.Obstacles = append(o.Obstacles, Obstacle{j.Name, fmt.Sprintf("%s has no folder %s, which spec.controlPlane.join.patches names", j.Name, dir), "`mkdir -p " + dir + "`"})
		}
		for _, c := range kube.Components() {
			sides := o.sides(i, c)
			list, err := sides.Compare()
			if err != nil {
				return err
			}
			var hard []kube.Difference
			for _, d := range list {
				if d.Own && d.Alike() || electionFlag(d) {
					continue // sharedBy and leaderElectionOff say so
				}
				if strings.HasSuffix(d.Name, ".httpGet.host") && d.Slight {
					continue // another way to the same listener
				}
				if d.Slight {
					if note := fmt.Sprintf("%s: %s", c, d); !slight[note] {
						o.Notes, slight[note] = append(o.Notes, note), true
					}
					continue
				}
				hard = append(hard, d)
			}
			obstacles, err := o.obstacles(j, sides, hard)
			if err != nil {
				return err
			}
			for _, x := range obstacles { // of the first node each joining one would say the same
				if !slices.Contains(o.Obstacles, x) {
					o.Obstacles = append(o.Obstacles, x)
				}
			}
			o.Shared = append(o.Shared, o.sharedBy(j, c, o.made[i][c])...)
		}
	}
	off, err := o.leaderElectionOff(ctx)
	o.Shared = append(o.Shared, off...)
	return err
}

// judgeLive: what runs on the first node is what its manifests say. A process
// of before an edit, or one whose pod can't be made again, is nothing to copy.
func (o *outlook) judgeLive() error {
	first := o.First().Name
	for _, c := range kube.Components() {
		live := o.live[c]
		if live.flags == nil {
			o.Obstacles = append(o.Obstacles, Obstacle{first, fmt.Sprintf("no %s runs on %s", c, first), "`crictl ps -a --name " + string(c) + "` shows it, and its logs why"})
			continue
		}
		same := kube.Sides{Component: c, LiveOwn: own(o.First()), MadeOwn: own(o.First())}
		for _, d := range same.CompareFlags(live.manifest.Flags(), live.flags) {
			if strings.Contains(d.Live, "$(") { // a variable, which the kubelet has put in
				continue
			}
			o.Obstacles = append(o.Obstacles, Obstacle{first, fmt.Sprintf("the %s on %s does not run with what its manifest says: %s", c, first, d),
				"wait for the kubelet, or see with `journalctl -u kubelet` why it does not start the pod again"})
		}
	}
	return nil
}

// summary is one sentence of several.
func summary(list []Obstacle) (seen, remedy string) {
	var sentences, remedies []string
	known := map[string]bool{}
	for _, o := range list {
		sentences = append(sentences, o.Seen)
		if !known[o.Node+o.Remedy] {
			known[o.Node+o.Remedy] = true
			remedies = append(remedies, "on "+o.Node+": "+o.Remedy)
		}
	}
	return strings.Join(sentences, "; "), strings.Join(remedies, "; ")
}
