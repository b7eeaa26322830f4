package controlplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const hostFilesID = "controlplane/host-files"

// hostFiles carries along what the first node's control plane reads of its host
// and kubeadm does not distribute: audit policies, encryption configurations,
// OIDC CAs, webhook kubeconfigs. Without them the new API server does not start;
// with another encryption key it can't read Secrets.
func hostFiles() phases.Step {
	return phases.Step{
		ID:    hostFilesID,
		Title: "Copy the files that the API server mounts",
		Why:   "An API server without the same encryption key answers one request in three with garbage.",
		On:    migrate.JoiningControlPlanes,
		ByHand: "```\ngrep -A2 hostPath /etc/kubernetes/manifests/kube-*.yaml    # on {{.First.Name}}: what is not kubeadm's own goes to {{.Target}}, byte for byte\n" +
			"grep -- '--[a-z-]*=/etc' /etc/kubernetes/manifests/kube-*.yaml    # and the files that flags name; no log, and no key of a CA\n```\n",
		Check: checkHostFiles,
		Apply: applyHostFiles,
		Verify: func(ctx context.Context, v phases.View) error {
			f, err := checkHostFiles(ctx, v)
			if err != nil {
				return err
			}
			if f.Verdict != migrate.Satisfied {
				return errors.New(f.Reason)
			}
			return nil
		},
		Undo:   undoHostFiles,
		Settle: 10 * time.Second,
	}
}

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
func lookTarget(ctx context.Context, v phases.View) (target, error) {
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
	err = phases.SideBySide(
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

// hindrance is why the files can't be carried, with what to do.
type hindrance struct{ seen, remedy string }

// hindrances lists what this tool does not decide: a file is never written
// through a link of the target's, a folder is never replaced, a CA's key is
// never copied.
func (t target) hindrances(v phases.View) []hindrance {
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

func checkHostFiles(ctx context.Context, v phases.View) (migrate.Finding, error) {
	t, err := lookTarget(ctx, v)
	if err != nil {
		return migrate.Finding{}, err
	}
	faults, changes := t.faults(v)
	if list := t.hindrances(v); len(list) > 0 {
		f := phases.Block(list[0].remedy, "%s", list[0].seen)
		f.Undone = len(faults) > 0
		return f, nil
	}
	if len(faults) == 0 {
		return phases.Done("%s", t.with(fmt.Sprintf("it has all %d of them", len(t.items)))), nil
	}
	before := hostFilesBefore(t, v.First().Name)
	before["state"] = strings.Join(faults, "\n")
	f := phases.Need(before, "%s", t.with(strings.Join(faults, ", ")))
	f.Changes = changes
	return f, nil
}

// faults are what is not as on the first node, and what the plan shows of it.
func (t target) faults(v phases.View) (faults []string, changes []migrate.Change) {
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

func applyHostFiles(ctx context.Context, h phases.Hands, _ migrate.Before) error {
	t, err := lookTarget(ctx, h.View)
	if err != nil {
		return err
	}
	if list := t.hindrances(h.View); len(list) > 0 {
		return fmt.Errorf("%s: %s", list[0].seen, list[0].remedy)
	}
	for _, i := range t.items {
		if t.fault(i, h.First().Name) == "" {
			continue
		}
		if err := t.bring(ctx, h, i); err != nil {
			return err
		}
	}
	return nil
}

// bring carries one of them, with the folders above it.
func (t target) bring(ctx context.Context, h phases.Hands, i item) error {
	for _, dir := range t.missingAbove(i.path) {
		if err := makeFolder(ctx, h, dir); err != nil {
			return err
		}
		t.have[dir] = remote.Standing{Kind: remote.FolderPath}
	}
	if err := carry(ctx, h, i, t.have[i.path]); err != nil {
		return err
	}
	t.have[i.path] = i.Standing
	return nil
}

// ledElsewhere says whether a folder is a link here and none on the first node.
func (t target) ledElsewhere(dir string) bool {
	first, watched := t.above[dir]
	return watched && strings.Count(dir, "/") > 2 && t.have[dir].Kind == remote.LinkPath && first.Kind != remote.LinkPath
}

// carry makes one of them what it is on the first node. What stood there is in
// the pre-image, or saved here. A link goes before a file is written: the file
// would go to where it leads.
func carry(ctx context.Context, h phases.Hands, i item, have remote.Standing) error {
	host := h.On(h.Target())
	if have.Kind == remote.FilePath {
		if err := phases.Backup(ctx, host, hostFilesID, i.path); err != nil {
			return err
		}
	}
	switch i.Kind {
	case remote.FolderPath:
		return makeFolder(ctx, h, i.path)
	case remote.LinkPath:
		return makeLink(ctx, host, i.path, i.Link)
	}
	if have.Kind == remote.LinkPath {
		if err := host.Remove(ctx, i.path); err != nil {
			return err
		}
	}
	if i.log { // it begins empty
		return host.WriteFile(ctx, remote.File{Path: i.path, Mode: i.Mode, Owner: i.Owner})
	}
	return host.Copy(ctx, h.On(h.First().Name), i.path, remote.File{Path: i.path, Mode: i.Mode, Owner: i.Owner})
}

// makeLink makes a symbolic link, in place of what is there.
func makeLink(ctx context.Context, host remote.Host, p, to string) error {
	part := path.Join(path.Dir(p), "."+path.Base(p)+".migrate-link")
	script := fmt.Sprintf("set -eu; rm -f %[1]s; ln -s %[2]s %[1]s; mv -fT %[1]s %[3]s", remote.Quote(part), remote.Quote(to), remote.Quote(p))
	if _, err := host.Run(ctx, remote.Command{Script: script}); err != nil {
		return fmt.Errorf("making the symbolic link %s on %s: %w", p, host.Name(), err)
	}
	return nil
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

// makeFolder makes it with the mode and owner it has on the first node.
func makeFolder(ctx context.Context, h phases.Hands, dir string) error {
	out, err := h.On(h.First().Name).Look(ctx, remote.Cmd("stat", "-c", "%a %u %g", dir))
	if err != nil {
		return err
	}
	var mode, uid, gid string
	if _, err := fmt.Sscan(out, &mode, &uid, &gid); err != nil {
		return fmt.Errorf("reading the mode of %s: %w", dir, err)
	}
	if _, err := h.On(h.Target()).Run(ctx, remote.Cmd("install", "-d", "-m", mode, "-o", uid, "-g", gid, dir)); err != nil {
		return fmt.Errorf("making %s on %s: %w", dir, h.Target(), err)
	}
	return nil
}

// HostFilesReport is what phase 3 will find on a joining node of the files
// that the first node's control plane reads.
type HostFilesReport struct {
	All, Missing int
	Differs      []string // one clause each
	Notes        []string // what is not carried, and why; one clause each
	// Hinders are what phase 3 would be blocked by, with what to do.
	Hinders []struct{ Seen, Remedy string }
}

// HostFiles looks at v's target.
func HostFiles(ctx context.Context, v phases.View) (HostFilesReport, error) {
	t, err := lookTarget(ctx, v)
	if err != nil {
		return HostFilesReport{}, err
	}
	r := HostFilesReport{All: len(t.items), Notes: t.notes()}
	for _, x := range t.hindrances(v) {
		r.Hinders = append(r.Hinders, struct{ Seen, Remedy string }{x.seen, x.remedy})
	}
	for _, i := range t.items {
		switch fault := t.fault(i, v.First().Name); {
		case strings.HasSuffix(fault, missingWord):
			r.Missing++
		case fault != "":
			r.Differs = append(r.Differs, fault)
		}
	}
	return r, nil
}
