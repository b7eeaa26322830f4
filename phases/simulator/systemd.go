package simulator

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

const (
	adminUnits   = "/etc/systemd/system"
	packageUnits = "/usr/lib/systemd/system"
)

// systemctl splits its words into the verb, properties and units.
func systemctl(p program) error {
	if len(p.args) > 0 && p.args[0] == "list-units" {
		return listUnits(p)
	}
	c := systemctlCall{program: p}
	for i := 0; i < len(p.args); i++ {
		switch a := p.args[i]; {
		case a == "--quiet" || a == "-q":
			c.quiet = true
		case a == "--now":
			c.now = true
		case a == "--value":
			c.value = true
		case a == "--no-block":
			c.noBlock = true
		case a == "-p" && i+1 < len(p.args):
			i++
			c.properties = append(c.properties, p.args[i])
		case strings.HasPrefix(a, "--signal="):
			c.signal = strings.TrimPrefix(a, "--signal=")
		case a == "--kill-who=main": // it tells the others itself
		case strings.HasPrefix(a, "-"):
			return fmt.Errorf("unrecognized option '%s'", a)
		case c.verb == "":
			c.verb = a
		default:
			if !strings.Contains(a, ".") {
				a += ".service"
			}
			c.units = append(c.units, a)
		}
	}
	return c.run()
}

type systemctlCall struct {
	program
	verb, signal               string
	quiet, now, value, noBlock bool
	properties, units          []string
}

func (c systemctlCall) run() error {
	switch c.verb {
	case "daemon-reload":
		for name := range maps.Clone(c.host.units) {
			c.host.reloadUnit(name)
		}
		return nil
	case "is-active", "is-enabled":
		return c.is()
	case "reset-failed":
		return nil
	case "show":
		return c.show()
	}
	for _, name := range c.units {
		if err := c.one(name); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) reloadUnit(name string) {
	file := h.unitFile(name)
	if file == "" {
		if h.units[name].state == "inactive" {
			delete(h.units, name)
		}
		return // or a transient one
	}
	h.units[name].text = h.read(file)
}

func (c systemctlCall) is() error {
	status := error(interp.ExitStatus(3))
	for _, name := range c.units {
		state, good := "inactive", "active"
		u, err := c.host.unit(name)
		switch {
		case c.verb == "is-enabled":
			state, good = "disabled", "enabled"
			if c.host.enabled(name) {
				state = "enabled"
			}
		case err == nil:
			state = u.state
		}
		if state == good {
			status = nil
		}
		if !c.quiet {
			c.out("%s\n", state)
		}
	}
	return status
}

func (c systemctlCall) show() error {
	u, err := c.host.unit(c.units[0])
	values := map[string]string{"LoadState": "not-found", "NeedDaemonReload": "no", "ActiveState": "inactive", "ExecMainStartTimestamp": ""}
	if err == nil {
		values["LoadState"], values["ActiveState"] = "loaded", u.state
		if file := c.host.unitFile(c.units[0]); file == "" || c.host.read(file) != u.text {
			values["NeedDaemonReload"] = "yes"
		}
		if !u.started.IsZero() {
			values["ExecMainStartTimestamp"] = u.started.UTC().Format(systemdTime)
		}
	}
	for _, name := range c.properties {
		value, ok := values[name]
		switch {
		case !ok:
			return fmt.Errorf("the property %s is not played", name)
		case c.value:
			c.out("%s\n", value)
		default:
			c.out("%s=%s\n", name, value)
		}
	}
	return nil
}

// enabled says whether a unit's link is in some target's folder.
func (h *Host) enabled(name string) bool {
	return slices.ContainsFunc(h.wants(name), h.has)
}

// wants lists the links that enabling a unit makes.
func (h *Host) wants(name string) []string {
	var out []string
	for _, target := range option(h.read(h.unitFile(name)), "Install", "WantedBy") {
		out = append(out, path.Join(adminUnits, target+".wants", name))
	}
	return out
}

// one carries out a verb on one unit.
func (c systemctlCall) one(name string) error {
	h := c.host
	if c.verb == "stop" && h.units[name] == nil && h.unitFile(name) == "" {
		return fmt.Errorf("Unit %s not loaded.", name) //nolint:staticcheck // systemd's words
	}
	u, err := h.unit(name)
	if err != nil {
		return err
	}
	switch c.verb {
	case "enable":
		for _, link := range h.wants(name) {
			h.Link(link, h.unitFile(name))
		}
	case "disable":
		for _, link := range h.wants(name) {
			h.remove(link)
		}
	}
	start := c.verb == "start" || c.verb == "enable" && c.now
	stop := c.verb == "stop" || c.verb == "disable" && c.now
	switch {
	case start && u.state == "inactive":
		return h.startUnit(name, u)
	case stop:
		h.stopUnit(u)
		if h.unitFile(name) == "" { // a transient one is gone then
			delete(h.units, name)
		}
	case c.verb == "restart":
		if name == "kubelet.service" { // its pods go on without it
			c.sleep(time.Second)
		}
		h.stopUnit(u)
		if name != "kubelet.service" {
			c.sleep(time.Second)
		}
		return h.startUnit(name, u)
	case c.verb == "kill":
		return c.killUnit(name)
	case c.verb == "reload" && name == haproxyUnit:
		return h.loadHAProxy(u)
	case c.verb == "reload" && name == "nginx.service":
		return h.reloadNginx()
	case !start && !slices.Contains([]string{"enable", "disable"}, c.verb):
		return fmt.Errorf("%s of %s is not played", c.verb, name)
	}
	return nil
}

func (h *Host) startUnit(name string, u *unit) error {
	u.started = time.Now()
	switch {
	case name == "nginx.service":
		if err := h.reloadNginx(); err != nil {
			return err
		}
		u.proc = h.start("nginx", "/usr/sbin/nginx", []string{"nginx: master process"})
	case name == haproxyUnit:
		if err := h.loadHAProxy(u); err != nil {
			return err
		}
		u.proc = h.start("haproxy", "/usr/sbin/haproxy", []string{"/usr/sbin/haproxy", "-Ws"})
	case name == "kubelet.service":
		h.kubelet = kubeletState{started: time.Now()}
		u.proc = h.start("kubelet", "/usr/bin/kubelet", []string{"/usr/bin/kubelet"})
	case name == "etcd.service":
		u.state = "activating"
		h.world.startMember(h, u)
		return nil
	case path.Ext(name) == ".socket":
		if h.unitFile(strings.TrimSuffix(name, ".socket")+".service") == "" {
			return fmt.Errorf("Socket service %s not loaded, refusing.", strings.TrimSuffix(name, ".socket")+".service") //nolint:staticcheck // systemd's words
		}
	default:
		return errors.New("starting " + name + " is not played")
	}
	u.state = "active"
	return nil
}

func (h *Host) stopUnit(u *unit) {
	h.stop(u.proc)
	u.proc, u.state, u.retryAt, u.fireAt = nil, "inactive", time.Time{}, time.Time{}
}

// routeRelay follows a socket unit to where its service leads.
func (w *World) routeRelay(at *Host, ip string, port int) (route, bool) {
	if name := at.socket(net.JoinHostPort(ip, strconv.Itoa(port))); name != "" {
		service := at.units[strings.TrimSuffix(name, ".socket")+".service"]
		if service == nil {
			service = &unit{text: at.read(adminUnits + "/" + strings.TrimSuffix(name, ".socket") + ".service")}
		}
		for _, exec := range option(service.text, "Service", "ExecStart") {
			words := strings.FieldsFunc(exec, func(r rune) bool { return strings.ContainsRune(" ;'\"", r) })
			i := slices.IndexFunc(words, func(s string) bool { return strings.HasPrefix(s, "127.0.0.1:") })
			if i < 0 {
				continue
			}
			r, err := w.route(at, words[i])
			r.relayed = true
			return r, err == nil
		}
	}
	return route{}, false
}
