package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// folder is a data folder as its host shows it.
type folder struct {
	there, isFolder bool
	link            string // what it leads to, where it is a link
	owner           string // "UNKNOWN" for a number without a name
	names           []string
	free            int // KiB on its disk
	disk            string
	kind, options   string   // of the file system
	inside          []string // mount points below it
	links           []string // names in it, and in member, that are links
}

// folderScript looks at one folder. Of one that is not there, the disk is that
// of the nearest one above.
const folderScript = `d=%s
echo @@link; [ ! -L "$d" ] || readlink "$d"
echo @@stat; [ ! -e "$d" ] || stat -L -c '%%U %%F' "$d"
echo @@names; [ ! -d "$d" ] || ls -A "$d"
echo @@links; for f in "$d"/member "$d"/member/wal "$d"/member/snap; do [ ! -L "$f" ] || echo "$f"; done
echo @@disk; n=$d; until [ -e "$n" ]; do n=${n%%/*}; [ -n "$n" ] || n=/; done; df -Pk "$n"
echo @@mounts; cat /proc/self/mounts
echo @@end`

func lookAt(ctx context.Context, r remote.Reader, dir string) (folder, error) {
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf(folderScript, remote.Quote(dir))})
	if err != nil {
		return folder{}, fmt.Errorf("looking at %s on %s: %w", dir, r.Name(), err)
	}
	var f folder
	section := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "@@"); ok {
			section = name
			continue
		}
		words := strings.Fields(line)
		switch {
		case line == "":
		case section == "link":
			f.link = line
		case section == "stat":
			owner, kind, _ := strings.Cut(line, " ")
			f.there, f.isFolder, f.owner = true, strings.Contains(kind, "directory"), owner
		case section == "names":
			f.names = append(f.names, line)
		case section == "links":
			f.links = append(f.links, line)
		case section == "disk" && len(words) == 6 && words[0] != "Filesystem":
			f.disk = words[5]
			if f.free, err = strconv.Atoi(words[3]); err != nil {
				return folder{}, fmt.Errorf("reading `df` of %s on %s: %w", dir, r.Name(), err)
			}
		case section == "mounts" && len(words) > 3:
			if words[1] == f.disk { // the last one there is what is seen
				f.kind, f.options = words[2], words[3]
			}
			if strings.HasPrefix(words[1], dir+"/") {
				f.inside = append(f.inside, words[1])
			}
		}
	}
	if section != "end" {
		return folder{}, fmt.Errorf("looking at %s on %s: the output was cut", dir, r.Name())
	}
	return f, nil
}

// slowOrGone are file systems on which etcd must not be: over a network a sync
// is slow and a lock may be lost (etcd's hardware guide), in memory the data is
// gone with the next start.
func slowOrGone(kind string) string {
	switch {
	case kind == "tmpfs" || kind == "ramfs":
		return "in memory: a member that has lost its data is no member any more"
	case slices.Contains([]string{"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "ocfs2"}, kind), strings.HasPrefix(kind, "fuse."):
		return "over a network or a program: etcd needs a local disk that syncs"
	}
	return ""
}

// diskFaults are the same for an old member and a new one.
func (f folder) diskFaults(dir string, size int64) []Finding {
	var out []Finding
	if why := slowOrGone(f.kind); why != "" {
		out = append(out, block("mount a local disk (ext4, xfs) there", "%s is on %s (%s), %s", dir, f.disk, f.kind, why))
	}
	if slices.Contains(strings.Split(f.options, ","), "ro") {
		out = append(out, block("mount -o remount,rw "+remote.Quote(f.disk), "%s is on %s, which is mounted read-only", dir, f.disk))
	}
	need := max(2*int(size>>10), 512<<10)
	if f.free < need {
		out = append(out, block("make room on that disk: `du -xh --max-depth=2 "+f.disk+" | sort -h | tail`", "%s is on %s, which has %d MiB left, and needs %d", dir, f.disk, f.free>>10, need>>10))
	}
	return out
}

func etcdData(ctx context.Context, s Scene) ([]Finding, error) {
	e, err := s.Etcd(ctx)
	if err != nil {
		return nil, err
	}
	var size int64
	for _, a := range e.Statuses(ctx) {
		if a.Err == nil {
			size = max(size, a.Status.DBSize)
		}
	}
	if s.Target() == s.First().Name {
		return oldData(ctx, s, size)
	}
	return newData(ctx, s, size)
}

// newData is a member's folder on an etcd host. Names other than etcd's own do
// not matter: a disk of its own has a lost+found.
func newData(ctx context.Context, s Scene, size int64) ([]Finding, error) {
	const dir = etcdflags.DataDir
	f, err := lookAt(ctx, s.On(s.Target()), dir)
	if err != nil {
		return nil, err
	}
	member, err := isMember(ctx, s)
	if err != nil {
		return nil, err
	}
	var out []Finding
	switch {
	case f.link != "":
		out = append(out, block(fmt.Sprintf("rm %[1]s && mkdir -m 0700 %[1]s && mount --bind %[2]s %[1]s, with a line in /etc/fstab", dir, remote.Quote(f.link)),
			"%s is a link to %q: its mode and owner would be set on what it leads to", dir, f.link))
	case f.there && !f.isFolder:
		out = append(out, block("move it away: mv "+dir+" $HOME/", "%s is there and is no folder", dir))
	case f.there && !slices.Contains([]string{"root", "etcd", "UNKNOWN"}, f.owner):
		out = append(out, block("look who uses it; when nobody does: chown root:root "+dir, "%s belongs to the user %q: it is to be etcd's alone", dir, f.owner))
	}
	for _, name := range f.names {
		if !member && etcdflags.IsMemberData(name) {
			seen, remedy := etcdflags.ForeignData(s.Target(), name)
			out = append(out, block(remedy, "%s", seen))
		}
	}
	if len(f.inside) > 0 {
		out = append(out, block("mount that disk at "+dir+" itself", "%s is a mount point inside of etcd's data folder: it could not be emptied during the rollback", f.inside[0]))
	}
	out = append(out, f.diskFaults(dir, size)...)
	if len(out) > 0 {
		return softened(out, member), nil
	}
	if f.disk == dir {
		return []Finding{fine("%s is a disk of its own (%s)", dir, f.kind)}, nil
	}
	return []Finding{fine("%s is free, on %s (%s)", dir, f.disk, f.kind)}, nil
}

// softened makes of what would keep a new member from a folder what is to be
// known where there is one: it was made with the folder as it is, and nothing
// that is still to be done depends on another one.
func softened(out []Finding, runs bool) []Finding {
	for i := range out {
		if runs && out[i].Severity == Blocking {
			out[i].Severity = Warning
		}
	}
	return out
}

// oldData is the old member's folder on its node, where the manifest mounts it
// from.
func oldData(ctx context.Context, s Scene, size int64) ([]Finding, error) {
	m, err := s.OldEtcdManifest(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return []Finding{fine("there is no old etcd on %s any more", s.Target())}, nil
	}
	if err != nil {
		return nil, err
	}
	dir, err := phases.EtcdDataOnHost(m)
	if err != nil {
		return []Finding{block("mount a folder of the node there (kubeadm: a hostPath volume etcd-data), as a change of its own, with the data in it", "%v: its data could be neither archived nor brought back", err)}, nil
	}
	f, err := lookAt(ctx, s.On(s.Target()), dir)
	if err != nil {
		return nil, err
	}
	var out []Finding
	member := path.Join(dir, "member")
	if wal, ok := m.Flags().Get("wal-dir"); ok && path.Clean(wal) != "/" {
		out = append(out, block(fmt.Sprintf("let etcd keep its log in the data folder, as a change of its own: move the manifest away, mv WALFOLDER %s, take --wal-dir out and move the manifest back", remote.Quote(path.Join(member, "wal"))),
			"the old member keeps its log elsewhere (--wal-dir=%s): with the data archived and the log left there, the rollback would start on an old log", wal))
	}
	if slices.Contains(f.links, member) {
		out = append(out, block("mount that disk at "+dir+" itself, as a change of its own", "%s is a link: archived, it would leave the data where it leads to, and the rollback would not use it", member))
	} else if slices.Contains(f.inside, member) {
		out = append(out, block("mount that disk at "+dir+" itself, as a change of its own", "%s is a mount point, which cannot be moved to the archive", member))
	} else if other := slices.Concat(f.links, f.inside); len(other) > 0 {
		out = append(out, warn("mount that disk at "+dir+" itself, if the rollback shall use it again", "%s leads to another disk: after the rollback the member has all its data in %s", other[0], dir))
	}
	// The archive needs no room; the way back does.
	out = append(out, softened(f.diskFaults(dir, size), true)...)
	if len(out) > 0 {
		return out, nil
	}
	archive := "beside its manifest, in " + phases.EtcdArchive
	if same, err := hostfiles.SameDisk(ctx, s.On(s.Target()), dir, hostfiles.StateDir); err != nil {
		return nil, err
	} else if !same {
		archive = "in that folder under another name: it is a disk of its own"
	}
	return []Finding{fine("the old member's data is in %s; its archive is %s", dir, archive)}, nil
}
