package controlplane

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
)

// secretReason is why kubeadm-config is not given a value. Of a variable whose
// name says nothing it is not known whether it holds a secret.
const secretReason = "it is a secret or may be one, and every node may read kubeadm-config"

// patchesDir is what the remedies propose where the spec names no folder.
const patchesDir = "/etc/kubernetes/patches"

// obstacles are the differences of one component that are left, each kind with
// its remedy.
func (o *outlook) obstacles(j joiningNode, sides kube.Sides, list []kube.Difference) ([]Obstacle, error) {
	var out []Obstacle
	var patch []kube.Difference
	first, file := o.First().Name, sides.Component.ManifestPath()
	for _, d := range list {
		switch {
		case d.Live == "" && d.Field != "" && o.want.Has(d.Edit()):
			// The two remedies are the owner's to choose from.
			out = append(out, Obstacle{first, fmt.Sprintf("kubeadm-config gives the %s %s (%s), and that of %s runs without it: a joined node would differ", d.Component, d.What(), d.Made, first),
				fmt.Sprintf("take it out with `kubectl -n kube-system edit cm kubeadm-config` (%s), or give it to %s on %s, if it was forgotten there", d.Edit(), file, first)})
		case d.Live == "" && d.Field == kube.ExtraArgs:
			out = append(out, Obstacle{first, fmt.Sprintf("the %s of %s runs without %s=%s, which kubeadm gives to every joining node", d.Component, first, d.What(), strings.Trim(d.Made, `"`)),
				fmt.Sprintf("give it to %s on %s as well, as a change of its own", file, first)})
		default:
			patch = append(patch, d)
		}
	}
	if len(patch) == 0 {
		return out, nil
	}
	remedy, err := o.patchRemedy(j, sides, patch)
	if err != nil {
		return nil, err
	}
	return append(out, Obstacle{j.Name, o.unlike(j, sides.Component, patch), remedy}), nil
}

// unlike says what a joined node would have, and why kubeadm-config does not
// help.
func (o *outlook) unlike(j joiningNode, c kube.Component, list []kube.Difference) string {
	var what []string
	why := map[string]bool{}
	for _, d := range list {
		what = append(what, d.String())
		switch {
		case d.Own:
			why[fmt.Sprintf("it is %s's own value", o.First().Name)] = true
		case d.Secret() && (d.Field == kube.ExtraArgs || d.Field == kube.ExtraEnvs):
			why[secretReason] = true
		default:
			why["kubeadm-config has no place for it"] = true
		}
	}
	var reasons []string
	for _, r := range []string{fmt.Sprintf("it is %s's own value", o.First().Name), secretReason, "kubeadm-config has no place for it"} {
		if why[r] {
			reasons = append(reasons, r)
		}
	}
	return fmt.Sprintf("the %s of %s would not be that of %s: %s (%s)", c, j.Name, o.First().Name, strings.Join(what, ", "), strings.Join(reasons, "; "))
}

// patchRemedy is the command that writes kubeadm's patch on the joining node.
func (o *outlook) patchRemedy(j joiningNode, sides kube.Sides, list []kube.Difference) (string, error) {
	patches, masked, err := sides.Patches(list)
	if err != nil {
		return "", err
	}
	dir, set := o.Spec().ControlPlane.Join.Patches, ""
	if dir == "" {
		dir, set = patchesDir, "set `patches: "+patchesDir+"` in spec.controlPlane.join, and "
	}
	commands := []string{remote.Cmd("mkdir", "-p", dir).Script}
	for _, p := range patches {
		commands = append(commands, fmt.Sprintf("printf '%%s\\n' %s >%s", remote.Quote(p.Text), remote.Quote(path.Join(dir, o.freeName(j, sides.Component, p.Kind)))))
	}
	command := strings.Join(commands, " && ")
	if masked { // what is put into the file is for root alone
		command = "(umask 077 && " + command + ")"
	}
	out := fmt.Sprintf("%swrite a patch for kubeadm on %s: `%s`", set, j.Name, command)
	if masked {
		out += fmt.Sprintf("; put the value of %s's %s in the place of AS-ON-THE-FIRST-NODE", o.First().Name, sides.Component.ManifestPath())
		if slices.ContainsFunc(list, func(d kube.Difference) bool { return d.Own && d.Secret() }) {
			out += fmt.Sprintf(", and where it has the address or the name of %s, those of %s", o.First().Name, j.Name)
		}
	}
	return out, nil
}

// freeName is a name for a patch that is not taken in the node's folder.
func (o *outlook) freeName(j joiningNode, c kube.Component, kind string) string {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s-as-first-%d+%s.json", c, n, kind)
		if !slices.ContainsFunc(j.patches, func(f scratchFile) bool { return path.Base(f.name) == name }) {
			return name
		}
	}
}
