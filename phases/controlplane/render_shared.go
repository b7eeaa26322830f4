package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/kube"
	"hamigrate/phases"

	"sigs.k8s.io/yaml"
)

// sharedBy lists what a joining node would be given of the first node's own: an
// address that it does not have, or a name that is not its.
func (o *outlook) sharedBy(j joiningNode, c kube.Component, made kube.Manifest) []Obstacle {
	var out []Obstacle
	first := own(o.First())
	_, external := o.before.ExternalEtcd()
	add := func(e kube.Edit, what, shown string) {
		remedy := fmt.Sprintf("take it out of the patch on %s, or write %s's own value there", j.Name, j.Name)
		if o.want.Has(e) {
			remedy = fmt.Sprintf("take %s out of kubeadm-config (`kubectl -n kube-system edit cm kubeadm-config`, %s); where each node needs a value of its own, write it to a patch on that node and name the folder in spec.controlPlane.join.patches", what, e)
		}
		out = append(out, Obstacle{j.Name, fmt.Sprintf("the %s of %s would have %s %s, which is %s's own", c, j.Name, what, shown, o.First().Name), remedy})
	}
	for _, f := range made.Flags() {
		if strings.HasPrefix(f.Name, "etcd-") && !external {
			continue // phase 2 replaces them
		}
		if first.FlagHolds(f) {
			add(kube.Edit{Component: c, Field: kube.ExtraArgs, Name: f.Name}, "--"+f.Name, fmt.Sprintf("%q", kube.ShownValue(f.Name, f.Value)))
		}
	}
	env := made.Env()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if first.VariableHolds(name, env[name]) {
			add(kube.Edit{Component: c, Field: kube.ExtraEnvs, Name: name}, "the variable "+name, "(its value is not shown)")
		}
	}
	for _, hp := range made.HostPaths() {
		if first.AddressIn(hp.Path) {
			add(kube.Edit{Component: c, Field: kube.ExtraVolumes, Name: hp.Name}, "the volume "+hp.Name, fmt.Sprintf("of %q", hp.Path))
		}
	}
	return out
}

// leaderElectionOff: with more than one instance it is a condition and no
// preference (k0sproject/k0s#540). It is looked for in what runs, in
// kubeadm-config, in what a join would make, and in the file that --config
// names.
func (o *outlook) leaderElectionOff(ctx context.Context) ([]Obstacle, error) {
	var out []Obstacle
	first := o.First().Name
	for _, c := range kube.Components()[1:] {
		add := func(where, node string) {
			out = append(out, Obstacle{node, fmt.Sprintf("the %s has leader election off in %s: with several of them each would act", c, where),
				fmt.Sprintf("set --leader-elect=true in %s on %s, and in kubeadm-config (`kubectl -n kube-system edit cm kubeadm-config`, %s.extraArgs), as a change of its own", c.ManifestPath(), first, c.Section())})
		}
		file, err := o.electionInFile(ctx, c)
		if err != nil {
			return nil, err
		}
		live := o.live[c]
		switch {
		case off(live.manifest.Flags(), file):
			add(c.ManifestPath()+" of "+first, first)
		case live.flags != nil && off(live.flags, file):
			add("the process on "+first, first)
		case off(o.before.ExtraArgs(c), false):
			add("kubeadm-config", first)
		default:
			for i, j := range o.joining {
				if off(o.made[i][c].Flags(), file) {
					add("what "+j.Name+" would get", j.Name)
				}
			}
		}
	}
	return out, nil
}

// off: the flag decides where it is given, also beside a file (kube-scheduler:
// app/options, ApplyLeaderElectionTo). pflag takes these words for false.
func off(flags kube.Flags, inFile bool) bool {
	v, given := flags.Get("leader-elect")
	if !given {
		return inFile
	}
	switch v {
	case "false", "False", "FALSE", "f", "F", "0":
		return true
	}
	return false
}

// electionInFile says whether the file of --config has leader election off.
func (o *outlook) electionInFile(ctx context.Context, c kube.Component) (bool, error) {
	file, ok := o.live[c].manifest.Flags().Get("config")
	if !ok {
		return false, nil
	}
	// The file is named as the pod sees it.
	onHost, mounted := o.live[c].manifest.OnHost(file)
	if !mounted {
		onHost = file
	}
	f, err := o.On(o.First().Name).ReadFile(ctx, onHost)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // mounted optionally, or named in vain: the program would not run
	}
	if err != nil {
		return false, err
	}
	var config struct {
		LeaderElection struct {
			LeaderElect *bool `json:"leaderElect"`
		} `json:"leaderElection"`
	}
	if err := yaml.Unmarshal(f.Data, &config); err != nil {
		return false, fmt.Errorf("on %s, %s: %w", o.First().Name, f.Path, err)
	}
	return config.LeaderElection.LeaderElect != nil && !*config.LeaderElection.LeaderElect, nil
}

// SameComponents is the error that a joined node's control plane is not the
// first node's: by the manifests, from which the next processes are started,
// and by the processes.
func SameComponents(ctx context.Context, v phases.Reader, node string) error {
	var mine, theirs map[kube.Component]running
	err := parallel.Do(
		func() (err error) { mine, err = componentsOn(ctx, v, node); return err },
		func() (err error) { theirs, err = componentsOn(ctx, v, v.First().Name); return err })
	if err != nil {
		return err
	}
	self := v.First()
	for _, h := range v.Spec().ControlPlane.Joining {
		if h.Name == node {
			self = h
		}
	}
	for _, c := range kube.Components() {
		if mine[c].flags == nil || theirs[c].flags == nil {
			return fmt.Errorf("the %s of %s or of %s does not run", c, node, v.First().Name)
		}
		s := kube.Sides{Component: c, Live: theirs[c].manifest, LiveOwn: own(v.First()), Made: mine[c].manifest, MadeOwn: own(self)}
		list, err := s.Compare()
		if err != nil {
			return err
		}
		for _, d := range append(list, s.CompareFlags(theirs[c].flags, mine[c].flags)...) {
			if !d.Slight {
				return fmt.Errorf("the %s of %s is not that of %s: %s", c, node, v.First().Name, d)
			}
		}
	}
	return nil
}
