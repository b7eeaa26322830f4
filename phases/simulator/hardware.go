package simulator

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

// Hardware changes what a machine is made of.
func (w *World) Hardware(host string, change func(*Hardware)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.hosts[host].hardware)
}

// furnish gives a machine the files that every machine has.
func (h *Host) furnish() {
	h.put("/usr/share/zoneinfo/Etc/UTC", "TZif2 UTC", 0o644, "root:root")
	h.Link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
	h.put("/etc/machine-id", fmt.Sprintf("%032x\n", []byte(h.Name())), 0o444, "root:root")
	h.put("/proc/meminfo", "MemTotal:       8000000 kB\nMemAvailable:   4000000 kB\n", 0o444, "root:root")
	h.put(mounts, "/dev/sda1 / ext4 rw,relatime 0 0\n", 0o444, "root:root")
	h.put(mountInfo, fmt.Sprintf("25 1 8:%d / / rw,relatime - ext4 /dev/sda1 rw\n", deviceOfRoot), 0o444, "root:root")
	h.put("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n", 0o444, "root:root")
	h.put("/proc/sys/fs/inotify/max_user_instances", "128\n", 0o644, "root:root")
	h.put("/proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n", 0o444, "root:root")
	h.put("/proc/sys/kernel/arch", "x86_64\n", 0o444, "root:root")
}

// furnishNode gives a node containerd, with the images of the control plane.
func (h *Host) furnishNode() {
	h.put("/run/containerd/containerd.sock", "", 0o660, "root:root")
	h.put("/etc/containerd/config.toml", "[plugins.cri.containerd.runtimes.runc.options]\n  SystemdCgroup = true\n", 0o644, "root:root")
	h.put(containerdImages, "registry.k8s.io/kube-apiserver:latest\nregistry.k8s.io/kube-controller-manager:latest\nregistry.k8s.io/kube-scheduler:latest\n", 0o600, "root:root")
}

const containerdImages = "/var/lib/containerd/images"

// hardwareProgram returns a program that says what a machine is made of.
func hardwareProgram(name string) func(program) error {
	switch name {
	case "uname":
		return func(p program) error {
			if slices.Contains(p.args, "-sm") {
				p.out("Linux ")
			}
			p.out("%s", p.host.read("/proc/sys/kernel/arch"))
			return nil
		}
	case "df":
		return df
	case "dd":
		return dd
	case "ctr":
		return ctr
	case "timeout":
		return timeout
	case "kubelet":
		return func(p program) error {
			p.out("Kubernetes %s\n", installedVersion(p.host, "/usr/bin/kubelet"))
			return nil
		}
	case "systemd-socket-activate":
		return func(program) error { return errors.New("it is played by systemd-run alone") }
	}
	return nil
}

// installedVersion is what stands behind the ELF header of a program's file,
// or else the world's.
func installedVersion(h *Host, file string) string {
	if v := strings.TrimSpace(strings.TrimPrefix(h.read(file), "\x7fELF")); v != "" {
		return v
	}
	return kubernetesVersion
}

// df plays `df -Pk FOLDER`.
func df(p program) error {
	_, dirs := p.options()
	if !p.host.has(dirs[0]) && dirs[0] != "/" {
		return interp.ExitStatus(1)
	}
	free, at := p.host.room(p.abs(dirs[0]))
	p.out("Filesystem     1024-blocks     Used Available Capacity Mounted on\n/dev/sda1         %d  %d  %d      12%% %s\n", free+(8<<20), 8<<20, free, at)
	return nil
}

// dd plays one synced write. It only says how long that took: it writes into
// a pipe, whose reader holds up a bubble's clock.
func dd(p program) error {
	took := p.host.hardware.Sync
	if p.host.hardware.Stalls > 0 {
		p.host.hardware.Stalls--
		took = time.Second
	}
	for _, a := range p.args {
		if file, ok := strings.CutPrefix(a, "of="); ok {
			if !p.host.has(path.Dir(file)) {
				return fmt.Errorf("failed to open '%s': No such file or directory", file)
			}
			p.host.put(file, "zeros", 0o600, "root:root")
		}
	}
	fmt.Fprintf(p.Stderr, "1+0 records in\n1+0 records out\n2048 bytes (2.0 kB, 2.0 KiB) copied, %g s, 2.5 MB/s\n", took.Seconds())
	return nil
}

// instances plays `find … -lname anon_inode:inotify`.
func instances(p program) error {
	for n := range p.host.hardware.Inotify {
		p.out("/proc/1/fd/%d\n", n)
	}
	return nil
}

// clockTime plays `date +%s.%N`.
func clockTime(p program) error {
	now := time.Now().Add(p.host.hardware.Skew)
	p.out("%d.%09d\n", now.Unix(), now.Nanosecond())
	return nil
}

// addressList plays `ip -o -4 addr show scope global`.
func addressList(p program) error {
	own := p.host.address
	if p.host.hardware.own != "" {
		own = p.host.hardware.own
	}
	p.out("2: host0    inet %s/24 brd 10.88.0.255 scope global host0\\       valid_lft forever preferred_lft forever\n", own)
	p.out("3: cni0    inet 10.244.0.1/24 brd 10.244.0.255 scope global cni0\\       valid_lft forever preferred_lft forever\n")
	for i, a := range p.host.hardware.Addresses {
		p.out("%d: host%d    inet %s/24 scope global host%d\\       valid_lft forever preferred_lft forever\n", 4+i, 1+i, a, 1+i)
	}
	return nil
}

// everyListener plays `ss -Hltn`.
func everyListener(p program) {
	h := p.host
	show := func(address string) { p.out("LISTEN 0      4096   %s   0.0.0.0:*\n", address) }
	h.dropTransient()
	show("0.0.0.0:22")
	if h.nginxActive() {
		for _, port := range slices.Concat(slices.Collect(maps.Keys(h.nginx.streams)), h.nginx.http) {
			show("0.0.0.0:" + strconv.Itoa(port))
		}
	}
	if h.haproxyActive() {
		for _, port := range h.haproxy.ports {
			show("0.0.0.0:" + strconv.Itoa(port))
		}
	}
	for _, pod := range h.apiServers() {
		show("*:" + pod.proc.flags["secure-port"])
	}
	for _, s := range h.boots {
		for _, flag := range []string{"listen-client-urls", "listen-peer-urls", "listen-metrics-urls"} {
			for u := range strings.SplitSeq(s.flags[flag], ",") {
				_, at, _ := strings.Cut(u, "://")
				show(at)
			}
		}
	}
	for _, u := range h.units {
		for _, address := range u.listens {
			show(address)
		}
	}
}

// socketActivate plays systemd-run of systemd-socket-activate: a transient
// service that takes connections and says nothing.
func socketActivate(p program) error {
	u := &unit{state: "active"}
	name, most := "", ""
	for i, a := range p.args {
		switch key, value, _ := strings.Cut(a, "="); key {
		case "--unit":
			name = value + ".service"
		case "--property":
			most = strings.TrimPrefix(value, "RuntimeMaxSec=")
		case "-l":
			u.listens = append(u.listens, p.args[i+1])
		}
	}
	d, err := time.ParseDuration(most + "s")
	if err != nil || name == "" {
		return fmt.Errorf("%q is not played", p.args)
	}
	if p.host.units[name] != nil {
		return fmt.Errorf("Failed to start transient service unit: Unit %s was already loaded", name) //nolint:staticcheck // systemd's words
	}
	u.until = time.Now().Add(d)
	p.host.units[name] = u
	return nil
}

// routeTransient finds a listener of socketActivate.
func (w *World) routeTransient(at *Host, ip string, port int) (route, bool) {
	for _, u := range at.units {
		if time.Now().Before(u.until) && slices.Contains(u.listens, ip+":"+strconv.Itoa(port)) {
			return route{kind: transient, host: at}, true
		}
	}
	return route{}, false
}

// serveNothing takes connections and closes them.
func (w *World) serveNothing(l *listener) {
	w.closers = append(w.closers, func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
}

// Address gives a machine another address than the others know it by, as
// behind a translation.
func (w *World) Address(host, own string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[host].hardware.own = own
}
