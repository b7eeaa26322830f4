package simulator

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// start makes a process with its folder in /proc; rootfs is the folder whose
// files the process sees as /usr/local/bin, "" for the host's own.
func (h *Host) start(name, exe string, argv []string) *process {
	h.world.pids++
	p := &process{pid: h.world.pids, name: name, exe: exe, argv: argv, flags: flags(argv), started: time.Now()}
	h.procs[p.pid] = p
	dir := fmt.Sprintf("/proc/%d", p.pid)
	h.put(dir+"/comm", name+"\n", 0o444, "root:root")
	// Of its fields the last one here is when it started.
	h.put(dir+"/stat", fmt.Sprintf("%d (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d\n", p.pid, name, p.pid), 0o444, "root:root")
	h.put(dir+"/cmdline", strings.Join(argv, "\x00")+"\x00", 0o444, "root:root")
	h.Link(dir+"/exe", exe)
	return p
}

func (h *Host) stop(p *process) {
	if p == nil {
		return
	}
	switch p.name {
	case apiComm:
		h.cut([]kind{apiServer}, p.flags["secure-port"])
		h.world.resetAll(h, p.flags["secure-port"])
	case "etcd":
		h.cut([]kind{etcdClient, etcdPeer}, "")
	}
	delete(h.procs, p.pid)
	h.Delete(fmt.Sprintf("/proc/%d", p.pid))
}

// running lists the processes of a name in the order of their start.
func (h *Host) running(name string) []*process {
	var out []*process
	for _, pid := range slices.Sorted(maps.Keys(h.procs)) {
		if h.procs[pid].name == name {
			out = append(out, h.procs[pid])
		}
	}
	return out
}

// flags reads --name=value words.
func flags(argv []string) map[string]string {
	out := map[string]string{}
	for _, w := range argv {
		if name, value, ok := strings.Cut(strings.TrimPrefix(w, "--"), "="); ok && strings.HasPrefix(w, "--") {
			out[name] = value
		}
	}
	return out
}

// cut ends the connections to what a process of h listened on.
func (h *Host) cut(kinds []kind, port string) {
	for at, l := range h.world.listeners {
		if at.host == h.Name() && at.port == port && slices.Contains(kinds, at.kind) {
			l.cut()
		}
	}
}

// Reset lists which API servers' reset connections the host still knows, as
// host:port.
func (h *Host) Reset() (out []string) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	for _, f := range h.conntrack {
		out = append(out, f.answeredBy)
	}
	return out
}

// resetAll is the end of an API server: it resets connections of clients on
// every host.
func (w *World) resetAll(h *Host, port string) {
	for _, from := range w.all() {
		from.conntrack = append(from.conntrack, conntrackEntry{answeredBy: net.JoinHostPort(h.address, port)})
	}
}
