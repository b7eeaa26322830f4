package controlplane

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// missingWord ends the fault of something that is not there.
const missingWord = " is missing"

// target is what a joining node has of what is carried.
type target struct {
	carried
	have  map[string]remote.Standing
	above map[string]remote.Standing // the folders above the items, on the first node
	lacks []string                   // what it should have of its own
}

// lookTarget looks at both sides once.
func lookTarget(ctx context.Context, v phases.Reader) (target, error) {
	t := target{above: map[string]remote.Standing{}}
	var err error
	if t.carried, err = find(ctx, v); err != nil {
		return target{}, err
	}
	var paths, above []string
	for _, i := range t.items {
		paths = append(paths, i.path)
		for dir := path.Dir(i.path); dir != "/"; dir = path.Dir(dir) {
			if paths = append(paths, dir); !i.log { // each node may have its logs elsewhere
				above = append(above, dir)
			}
		}
	}
	for _, hp := range t.own {
		paths = append(paths, hp.Path)
	}
	slices.Sort(above)
	above = slices.Compact(above)
	all := append(paths, t.named...)
	slices.Sort(all)
	err = parallel.Do(
		func() (err error) {
			if t.have, err = remote.LookAt(ctx, v.On(v.Target()), slices.Compact(all)); err != nil {
				return err
			}
			is, err := leadsTo(ctx, v.On(v.Target()), t.asked)
			t.lacks = slices.DeleteFunc(slices.Clone(t.asked), func(p string) bool { return is[p] != remote.AbsentPath })
			return err
		},
		func() (err error) { t.above, err = remote.LookAt(ctx, v.On(v.First().Name), above); return err })
	return t, err
}

// fault says how an item on the target differs, "" for not at all.
func (t target) fault(i item, first string) string {
	have := t.have[i.path]
	switch {
	case have.Kind == remote.AbsentPath:
		return i.path + missingWord
	case i.log && (have.Kind == i.Kind || have.Kind == remote.LinkPath):
		return ""
	case i.Kind == remote.FolderPath && have.Kind == remote.FolderPath:
		return ""
	case have.Kind == remote.LinkPath && i.Kind == remote.LinkPath && have.Link == i.Link:
		return ""
	case have.Kind == remote.LinkPath:
		return i.path + " is a symbolic link to " + have.Link
	case have.Kind != i.Kind:
		return i.path + " is no " + string(i.Kind)
	case have.Sum != i.Sum:
		return i.path + " differs from " + first + "'s"
	case have.Mode != i.Mode || have.Owner != i.Owner:
		return fmt.Sprintf("%s has mode %o and owner %s", i.path, have.Mode, have.Owner)
	}
	return ""
}

// faults are what is not as on the first node, and what the plan shows of it.
func (t target) faults(v phases.Reader) (faults []string, changes []migrate.Change) {
	for _, i := range t.items {
		fault := t.fault(i, v.First().Name)
		if fault == "" {
			continue
		}
		faults = append(faults, fault)
		// Their contents may be keys: the plan shows only that they come.
		change := migrate.Change{Object: v.Target() + ":" + i.path, After: "(as on " + v.First().Name + ")\n"}
		if i.log && i.Kind == remote.FilePath {
			change.After = "(an empty log)\n"
		}
		if i.Kind == remote.LinkPath {
			change.After = "(a symbolic link to " + i.Link + ")\n"
		}
		if have := t.have[i.path]; have.Kind == remote.LinkPath {
			change.Before = "(a symbolic link to " + have.Link + ")\n"
		}
		changes = append(changes, change)
	}
	return faults, changes
}

// hindrance is why the files can't be carried, with what to do.
type hindrance struct{ seen, remedy string }

// hindrances lists what this tool does not decide: a file is never written
// through a link of the target's, a folder is never replaced, a CA's key is
// never copied.
func (t target) hindrances(v phases.Reader) []hindrance {
	var out []hindrance
	first, self := v.First().Name, v.Target()
	for _, p := range t.named {
		if have := t.have[p]; have.Kind == remote.FilePath {
			continue
		}
		if slices.Contains(t.keys.unread, p) {
			out = append(out, hindrance{fmt.Sprintf("a flag of the control plane names %s, which holds a private key that this tool can't read, perhaps of a CA: it is not copied", p),
				fmt.Sprintf("put it on %s yourself, mode 0600", self)})
			continue
		}
		out = append(out, hindrance{fmt.Sprintf("a flag of the control plane names %s, which is the private key of a CA: it is not copied", p),
			fmt.Sprintf("put it on %s yourself, mode 0600, or use kubeadm's own ca.key, which kubeadm brings", self)})
	}
	for _, i := range t.items {
		have := t.have[i.path]
		if i.log && have.Kind == remote.LinkPath {
			continue
		}
		if have.Kind != remote.AbsentPath && have.Kind != i.Kind && (have.Kind == remote.FolderPath || have.Kind == remote.OtherPath || i.Kind == remote.FolderPath) {
			out = append(out, hindrance{fmt.Sprintf("%s on %s is a %s, and a %s on %s", i.path, self, have.Kind, i.Kind, first),
				fmt.Sprintf("move it away: `mv %[1]s %[1]s.old`", i.path)})
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(t.above)) {
		if t.ledElsewhere(dir) {
			out = append(out, hindrance{fmt.Sprintf("%s on %s is a symbolic link to %s, and a %s on %s: files would be written through it", dir, self, t.have[dir].Link, t.above[dir].Kind, first),
				fmt.Sprintf("move it away: `mv %[1]s %[1]s.old`", dir)})
		}
	}
	for _, p := range t.lacks {
		out = append(out, hindrance{fmt.Sprintf("the control plane of %s reads %s, which is each node's own and is not carried: it is not on %s", first, p, self),
			fmt.Sprintf("put it on %s as it was put on %s, by its package or by hand: `ls -lL %s` shows it then", self, first, remote.Quote(p))})
	}
	for _, hp := range t.own {
		if t.have[hp.Path].Kind == remote.AbsentPath && slices.Contains([]string{"File", "Directory", "Socket"}, hp.Type) {
			out = append(out, hindrance{fmt.Sprintf("%s, which the control plane mounts and which is each node's own, is not on %s", hp.Path, self),
				fmt.Sprintf("make it on %s", self)})
		}
	}
	return out
}

// notes says what is not carried, and why.
func (t target) notes() []string {
	var out []string
	for _, hp := range t.own {
		out = append(out, hp.Path+" is each node's own")
	}
	for _, p := range t.asked {
		out = append(out, p+" is each node's own")
	}
	for _, p := range t.keys.ofCAs {
		if !slices.Contains(t.named, p) {
			out = append(out, p+" is the private key of a CA and is left out")
		}
	}
	for _, p := range t.keys.unread {
		if !slices.Contains(t.named, p) {
			out = append(out, p+" holds a private key that this tool can't read, perhaps of a CA, and is left out")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// with adds the notes to a sentence.
func (t target) with(sentence string) string {
	if notes := t.notes(); len(notes) > 0 {
		return sentence + "; " + strings.Join(notes, "; ")
	}
	return sentence
}

// ledElsewhere says whether a folder is a link here and none on the first node.
func (t target) ledElsewhere(dir string) bool {
	first, watched := t.above[dir]
	return watched && strings.Count(dir, "/") > 2 && t.have[dir].Kind == remote.LinkPath && first.Kind != remote.LinkPath
}

// behindLink says whether a folder above p is a link here and none on the first
// node.
func (t target) behindLink(p string) bool {
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		if t.ledElsewhere(dir) {
			return true
		}
	}
	return false
}

// missingAbove lists the folders above a path that are not there, the outer
// ones first.
func (t target) missingAbove(p string) []string {
	var out []string
	for dir := path.Dir(p); dir != "/" && t.have[dir].Kind == remote.AbsentPath; dir = path.Dir(dir) {
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}
