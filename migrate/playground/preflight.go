package playground

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// needs are the programs and files `up` uses of this machine, and the Debian
// package that has each.
var needs = []struct{ program, pkg string }{ // read only
	{"systemd-nspawn", "systemd-container"},
	{"mmdebstrap", "mmdebstrap"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
	{"unshare", "util-linux"},
	{"mount", "mount"},
	{"ssh", "openssh-client"},
	{"ssh-keygen", "openssh-client"},
	{"cp", "coreutils"},
	// On Debian it is always there.
	{"/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"},
}

const (
	gib = 1 << 30
	// diskHosts is what the hosts of one playground come to need (measured: 1
	// GiB after a migration), with room for logs and for etcd.
	diskHosts = 3 * gib
	// diskCopies is how often the objects come to lie on the disk: in four
	// etcd members (that of the old cluster and three new ones), in database
	// and write-ahead log.
	diskCopies = 8
	// objectMemory is what one object comes to need of this machine's memory
	// (measured with 30,000): 28 KB in each API server, four while one of
	// three is restarted behind a second one, 10 KB in kube-controller-manager
	// and the rest in etcd.
	objectMemory = 150_000
	// diskShared is what the first playground puts into the cache besides the
	// binaries, for which package build has its own check: the root file
	// system and the unpacked images (measured: 1.5 GiB).
	diskShared = 2 * gib
	// diskNewer is another root file system (measured: 0.5 GiB).
	diskNewer = gib
	// newerKeys are what the newer Debian is signed with. The package of before
	// its time has no such file.
	newerKeys = "/usr/share/keyrings/debian-archive-trixie-stable.*"
)

// preflight says in a sentence what this machine lacks. It changes nothing.
func preflight(o Options) error {
	if runtime.GOOS != "linux" {
		return &UserError{
			Problem: "a playground needs Linux, and this is " + runtime.GOOS,
			Remedy:  "run it in a Debian 12 virtual machine",
		}
	}
	if err := needRoot(); err != nil {
		return err
	}
	if missing := missingPackages(lookFor); len(missing) > 0 {
		return &UserError{
			Problem: "this machine lacks what the playground runs on",
			Remedy:  "apt-get install -y " + strings.Join(missing, " "),
		}
	}
	if o.veteran() {
		keys, err := filepath.Glob(newerKeys)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return &UserError{
				Problem: "this machine does not have the keys of Debian 13, which some hosts of a veteran have",
				Remedy:  "apt-get install -y debian-archive-keyring",
			}
		}
	}
	if err := checkDisk(o); err != nil {
		return err
	}
	return checkFilesystem(o.Dir)
}

// lookFor finds a program in PATH, or a file by its full name.
func lookFor(name string) (string, error) {
	if !filepath.IsAbs(name) {
		return exec.LookPath(name)
	}
	_, err := os.Stat(name)
	return name, err
}

func needRoot() error {
	if os.Geteuid() != 0 {
		return &UserError{
			Problem: "the playground's hosts need root's rights to be started and stopped",
			Remedy:  "run the same command with sudo",
		}
	}
	return nil
}

// missingPackages lists the packages to install, each once.
func missingPackages(look func(string) (string, error)) []string {
	var missing []string
	for _, n := range needs {
		if _, err := look(n.program); err != nil && !slices.Contains(missing, n.pkg) {
			missing = append(missing, n.pkg)
		}
	}
	return missing
}

// checkDisk compares what will be needed with what is free, before anything
// is written.
func checkDisk(o Options) error {
	hosts := diskHosts + uint64(o.Objects)*objectBytes*diskCopies
	cached, err := filepath.Glob(filepath.Join(o.CacheDir, "base-*", baseStamp))
	if err != nil {
		return err
	}
	var shared uint64
	switch {
	case len(cached) == 0 && o.veteran():
		shared = diskShared + diskNewer
	case len(cached) == 0:
		shared = diskShared
	case len(cached) == 1 && o.veteran():
		shared = diskNewer
	}
	if err := needBytes(o.CacheDir, shared); err != nil {
		return err
	}
	return needBytes(o.Dir, hosts+shared) // the cache may be on the same disk
}

func needBytes(path string, need uint64) error {
	free, err := freeBytes(path)
	if err != nil {
		return fmt.Errorf("looking at the free space of %s: %w", path, err)
	}
	if free >= need {
		return nil
	}
	return &UserError{
		Problem: fmt.Sprintf("%s has %.1f GiB free and the playground needs %.1f GiB", path, float64(free)/gib, float64(need)/gib),
		Remedy:  "free some space, or name folders on another disk with --dir and --cache",
	}
}

// checkMemory compares what the objects will need with what is free.
func checkMemory(objects int) error {
	available, err := machineMemory("MemAvailable")
	if err != nil {
		return err
	}
	return needMemory(objects, available)
}

// needMemory refuses objects that available KiB do not hold.
func needMemory(objects, available int) error {
	need, has := float64(objects)*objectMemory, float64(available)*1024
	if objects == 0 || need <= has {
		return nil
	}
	return &UserError{
		Problem: fmt.Sprintf("migrating a cluster with --objects %d takes %.1f GiB of memory and this machine has %.1f GiB available", objects, need/gib, has/gib),
		Remedy:  fmt.Sprintf("ask for %d at most", int(has/objectMemory)),
	}
}

// machineMemory is a line of /proc/meminfo, in KiB.
func machineMemory(name string) (int, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == name+":" {
			return strconv.Atoi(words[1])
		}
	}
	return 0, fmt.Errorf("reading /proc/meminfo: no %s", name)
}

// freeBytes is the free space where path is or would be made.
func freeBytes(path string) (uint64, error) {
	fsStat, err := statfs(path)
	if err != nil {
		return 0, err
	}
	return fsStat.Bavail * uint64(fsStat.Bsize), nil
}

// statfs looks at the file system of the nearest folder that exists.
func statfs(path string) (syscall.Statfs_t, error) {
	var s syscall.Statfs_t
	for {
		err := syscall.Statfs(path, &s)
		if !errors.Is(err, fs.ErrNotExist) || path == "/" {
			return s, err
		}
		path = filepath.Dir(path)
	}
}

// checkFilesystem refuses what the kernel cannot put an overlay's upper
// folder on (Documentation/filesystems/overlayfs.rst).
func checkFilesystem(dir string) error {
	s, err := statfs(dir)
	if err != nil {
		return fmt.Errorf("looking at the file system of %s: %w", dir, err)
	}
	kinds := map[int64]string{0x794c7630: "overlayfs", 0x6969: "NFS", 0x01021997: "9p"}
	if kind := kinds[int64(s.Type)]; kind != "" {
		return &UserError{
			Problem: fmt.Sprintf("%s is on %s, where the hosts' file systems cannot be", dir, kind),
			Remedy:  "name a folder on a local disk with --dir",
		}
	}
	return nil
}

// raiseLimits raises the kernel's inotify limits: each host's systemd,
// containerd and kubelet take a share, and a kubelet that gets none dies of
// "inotify_init: too many open files". They are not lowered again: another
// playground may need them.
func raiseLimits() error {
	for name, want := range map[string]int{"max_user_instances": 8192, "max_user_watches": 524288} {
		path := "/proc/sys/fs/inotify/" + name
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if has, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && has >= want {
			continue
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(want)), 0); err != nil {
			return fmt.Errorf("raising fs.inotify.%s: %w", name, err)
		}
	}
	return nil
}
