package simulator

import (
	"path"
	"slices"
	"time"

	"hamigrate/migrate/remote/remotetest"
)

// assemble connects the parts of a new World.
func (w *World) assemble() {
	w.parts = parts{
		due:      w.due,
		routes:   []func(*Host, string, int) (route, bool){w.routeAPI, w.routeEtcd, w.routeRelay, w.routeNginx, w.routeHAProxy, w.routeTransient},
		balancer: w.routeBalancer,
		service:  w.serviceAddress,
		serve:    w.serve,
		shell:    func(h *Host) remotetest.Handler { return h.shell },
		program:  findProgram,
	}
}

// due does what every part has to do by now.
func (w *World) due(now time.Time) {
	for _, h := range w.all() {
		if u := h.units["etcd.service"]; u != nil && !u.retryAt.IsZero() && !now.Before(u.retryAt) {
			w.startMember(h, u)
		}
		h.settleTimers(now)
		h.settlePods(now)
		h.settleServing(now)
	}
	w.settleMirrors()
	w.settleEtcd(now)
	w.settleLeases()
	for _, h := range w.all() {
		h.settleKubelet(now)
		h.settleDead(now)
	}
	w.settleControllers(now)
	w.settleProxies(now)
	w.settleOutages(now)
}

// serve starts the server of a listener.
func (w *World) serve(l *listener, r route) {
	switch r.kind {
	case apiServer:
		w.serveAPI(l, r.host, r.port)
	case etcdClient:
		w.serveEtcd(l, r.host)
	case etcdPeer:
		w.servePeer(l, r.host)
	case transient:
		w.serveNothing(l)
	case website:
		w.closers = append(w.closers, func() { l.Close() })
	}
}

// findProgram returns a program of a host, nil for one that is not installed.
func findProgram(h *Host, name string) func(program) error {
	if path.IsAbs(name) {
		if !h.has(name) {
			return nil
		}
		name = path.Base(name)
	}
	if slices.Contains(h.hardware.Missing, name) {
		return nil
	}
	if file, ok := packaged[name]; ok && !h.has(file) {
		return nil
	}
	switch name {
	case "set-umask":
		return setUmask
	case "which":
		return which
	case "sleep":
		return sleep
	case "systemctl":
		return systemctl
	case "journalctl":
		return journalctl
	case "ss":
		return ss
	case "ip":
		return ip
	case "ps":
		return ps
	case "nft":
		return nft
	case "conntrack":
		return conntrack
	case "curl":
		return curl
	case "systemd-run":
		return systemdRun
	case "send-signal":
		return kill
	case "getent":
		return getent
	case "apt-get", "dnf":
		return installPackages
	case "nginx":
		return nginx
	case "haproxy":
		return haproxy
	case "socat":
		return socat
	case "kubeadm":
		return kubeadm
	case "etcd":
		return etcdVersion
	case "migrate":
		return restoreMember
	}
	if run := nginxHelper(name); run != nil {
		return run
	}
	if run := hardwareProgram(name); run != nil {
		return run
	}
	if run, ok := fileProgram(name); ok {
		return run
	}
	return textProgram(name)
}

func fileProgram(name string) (func(program) error, bool) {
	run, ok := map[string]func(program) error{
		"mkdir": mkdir, "mktemp": mktemp, "mv": mv, "cp": cp, "rm": rm, "rmdir": rmdir, "ln": ln, "chmod": chmod,
		"sync": func(program) error { return nil }, "stat": stat, "install": install, "readlink": readlink,
		"find": find, "ls": ls, "id": id, "groupadd": addUser, "useradd": addUser, "groupdel": deleteUser, "userdel": deleteUser,
	}[name]
	return run, ok
}
