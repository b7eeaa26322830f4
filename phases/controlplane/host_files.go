package controlplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

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
		Verify: func(ctx context.Context, v phases.Reader) error {
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

func checkHostFiles(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
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

func applyHostFiles(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	t, err := lookTarget(ctx, h.Reader)
	if err != nil {
		return err
	}
	if list := t.hindrances(h.Reader); len(list) > 0 {
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

// The keys of the pre-image: files and links that were not there, logs that were
// not there, files that were others, links that were there, mounted folders that
// were not there, and folders above all these that were not there.
const (
	keyMissing = "missing"
	keyLogs    = "logs"
	keyLinks   = "links"
	keyOthers  = "others"
	keyFolders = "folders"
	keyAbove   = "above"
)

// linkArrow stands between a link and where it led.
const linkArrow = " -> "

// hostFilesBefore lists what the step will make and what it will replace.
func hostFilesBefore(t target, first string) migrate.Before {
	lists := map[string][]string{}
	for _, i := range t.items {
		if t.fault(i, first) == "" {
			continue
		}
		lists[keyAbove] = append(lists[keyAbove], t.missingAbove(i.path)...)
		switch have := t.have[i.path]; {
		case have.Kind == remote.LinkPath:
			lists[keyLinks] = append(lists[keyLinks], i.path+linkArrow+have.Link)
		case have.Kind != remote.AbsentPath:
			lists[keyOthers] = append(lists[keyOthers], i.path)
		case i.Kind == remote.FolderPath:
			lists[keyFolders] = append(lists[keyFolders], i.path)
		case i.log:
			lists[keyLogs] = append(lists[keyLogs], i.path)
		default:
			lists[keyMissing] = append(lists[keyMissing], i.path)
		}
	}
	before := migrate.Before{}
	for key, list := range lists {
		slices.Sort(list)
		before[key] = strings.Join(slices.Compact(list), "\n")
	}
	return before
}

func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// undoHostFiles removes what was not there, restores what was another file,
// and removes the folders that were made. What a pod has written into one of
// those meanwhile, a log, is nobody's to delete: such a folder is moved aside.
func undoHostFiles(ctx context.Context, h phases.Writer, before migrate.Before) error {
	host := h.On(h.Target())
	if joined, err := there(ctx, host, phases.APIServerManifest); err != nil || joined {
		return errors.Join(err, fmt.Errorf("the API server of %s mounts these files: undo %s first", h.Target(), joinID))
	}
	for _, f := range lines(before[keyMissing]) {
		if err := host.Remove(ctx, f); err != nil {
			return err
		}
	}
	for _, f := range lines(before[keyLogs]) {
		if err := removeLog(ctx, host, f); err != nil {
			return err
		}
	}
	for _, l := range lines(before[keyLinks]) {
		file, to, _ := strings.Cut(l, linkArrow)
		if err := putLinkBack(ctx, host, file, to); err != nil {
			return err
		}
	}
	for _, f := range lines(before[keyOthers]) {
		if err := putBack(ctx, host, f); err != nil {
			return err
		}
	}
	for _, key := range []string{keyFolders, keyAbove} {
		folders := lines(before[key])
		slices.SortFunc(folders, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the inner ones first
		for _, dir := range folders {
			if err := removeFolder(ctx, host, dir, key == keyFolders); err != nil {
				return err
			}
		}
	}
	return nil
}
