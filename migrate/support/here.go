package support

import (
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/show"
	"hamigrate/state"
)

// here is what a helper wants to know of the machine and of how this was called. Of
// variables only whether they are set.
type here struct {
	Version  string            `json:"version"`
	At       time.Time         `json:"at"`
	Go       string            `json:"go"`
	System   string            `json:"system"`
	Kernel   string            `json:"kernel"`
	Who      string            `json:"who"`
	Folder   string            `json:"folder"`
	Terminal map[string]bool   `json:"terminal"`
	Set      map[string]bool   `json:"set"`
	Language map[string]string `json:"language"`
}

// AboutHere is what is known of this machine, and of this version of the program.
func AboutHere(at time.Time, tool string) here {
	h := here{Version: tool, At: at, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Who: state.WhoAmI(),
		Terminal: map[string]bool{"stdin": show.IsTerminal(os.Stdin), "stdout": show.IsTerminal(os.Stdout), "stderr": show.IsTerminal(os.Stderr)},
		Set:      map[string]bool{}, Language: map[string]string{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if folder, err := os.Getwd(); err == nil {
		h.Folder = folder
	}
	for _, name := range []string{"HOME", "PATH", "SSH_AUTH_SOCK", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "TMUX", "STY", "SSH_CONNECTION", "CI", "INVOCATION_ID"} {
		_, h.Set[name] = os.LookupEnv(name)
	}
	for _, name := range []string{"LANG", "LC_ALL", "TERM", "TZ"} {
		if v := os.Getenv(name); v != "" {
			h.Language[name] = v
		}
	}
	return h
}

// SpecForOthers is the spec without the names of files on this machine.
func SpecForOthers(spec cluster.Spec) cluster.Spec {
	clean := func(s cluster.SSH) cluster.SSH {
		for _, p := range []*string{&s.IdentityFile, &s.KnownHostsFile} {
			if *p != "" {
				*p = "(a file)"
			}
		}
		return s
	}
	list := func(hosts []cluster.Host) []cluster.Host {
		var out []cluster.Host
		for _, h := range hosts {
			h.SSH = clean(h.SSH)
			out = append(out, h)
		}
		return out
	}
	spec.SSH = clean(spec.SSH)
	spec.LoadBalancer.Hosts, spec.Etcd.Hosts, spec.Workers = list(spec.LoadBalancer.Hosts), list(spec.Etcd.Hosts), list(spec.Workers)
	spec.ControlPlane.Joining = list(spec.ControlPlane.Joining)
	spec.ControlPlane.First.SSH = clean(spec.ControlPlane.First.SSH)
	if strings.Contains(spec.Etcd.Binary, "/") {
		spec.Etcd.Binary = "(a file)"
	}
	return spec
}
