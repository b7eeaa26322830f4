package simulator

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

// holdTable is a filter, and the kernel ends it by itself.
const holdTable = "migrate_hold"

var (
	nftLine  = regexp.MustCompile(`^(add|delete) table ip (\S+)$`)
	nftTable = regexp.MustCompile(`(?s)^table ip (\S+) \{(.*)\}$`)
	nftRule  = regexp.MustCompile(`ip daddr (\S+) tcp dport (\d+) dnat to ([0-9.:]+)`)
)

// nft plays `-f -` and `list table ip NAME`. Both hooks must be in a table:
// one alone would leave the node's own clients, or all others.
func nft(p program) error {
	h := p.host
	if line := strings.Join(p.args, " "); strings.HasPrefix(line, "list table ip ") {
		table, ok := h.nat[strings.TrimPrefix(line, "list table ip ")]
		if !ok {
			return errors.New("Error: No such file or directory") //nolint:staticcheck // nft's words
		}
		p.out("%s\n", table.text)
		return nil
	}
	if line := strings.Join(p.args, " "); line == "delete table ip "+holdTable {
		delete(h.nat, holdTable)
		return nil
	}
	if p.args[0] == "-c" {
		return nil // a check of rules that are loaded elsewhere
	}
	text, err := p.input(nil)
	if err != nil {
		return err
	}
	if strings.Contains(text, "table ip "+holdTable+" {") {
		return nil // a filter for some tenths of a second, in which nobody asks here
	}
	for text = strings.TrimSpace(text); text != ""; {
		line, rest, _ := strings.Cut(text, "\n")
		if m := nftLine.FindStringSubmatch(line); m != nil {
			_, there := h.nat[m[2]]
			switch {
			case m[1] == "delete" && !there:
				return fmt.Errorf("Error: Could not process rule: No such file or directory") //nolint:staticcheck // nft's words
			case m[1] == "delete":
				if strings.HasPrefix(h.nat[m[2]].text, "table ip migrate_leaving") && strings.Count(text, "\n") == 0 {
					h.world.neverRefused(h)
				}
				delete(h.nat, m[2])
			case !there:
				h.nat[m[2]] = natTable{text: "table ip " + m[2] + " {\n}"}
			}
			text = strings.TrimSpace(rest)
			continue
		}
		m := nftTable.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("Error: syntax error: %s", line) //nolint:staticcheck // nft's words
		}
		table := natTable{text: text, rules: map[string]string{}}
		for _, rule := range nftRule.FindAllStringSubmatch(m[2], -1) {
			table.rules[rule[1]+":"+rule[2]] = rule[3]
		}
		for _, hook := range []string{"prerouting", "output"} {
			if !strings.Contains(m[2], "hook "+hook) {
				h.world.never("nft table %s has no chain in the hook %s", m[1], hook)
			}
		}
		h.nat[m[1]] = table
		text = ""
	}
	return nil
}

// systemdRun plays a transient timer with a script.
func systemdRun(p program) error {
	if slices.ContainsFunc(p.args, func(a string) bool { return strings.HasSuffix(a, "/systemd-socket-activate") }) {
		return socketActivate(p)
	}
	var name, after, script string
	for i, a := range p.args {
		switch key, value, _ := strings.Cut(a, "="); key {
		case "--unit":
			name = value
		case "--on-active":
			after = value
		case "-c":
			script = p.args[i+1]
		}
	}
	d, err := time.ParseDuration(after + "s")
	if err != nil || name == "" || script == "" {
		return fmt.Errorf("%q is not played", p.args)
	}
	if u := p.host.units[name+".timer"]; u != nil && u.state == "active" {
		return fmt.Errorf("Failed to start transient timer unit: Unit %s.timer was already loaded", name) //nolint:staticcheck // systemd's words
	}
	p.host.units[name+".timer"] = &unit{state: "active", fireAt: time.Now().Add(d), script: script}
	return nil
}

// settleTimers starts what is due. A script takes its time, so it runs beside
// everything else.
func (h *Host) settleTimers(now time.Time) {
	for name, u := range h.units {
		if u.fireAt.IsZero() || now.Before(u.fireAt) {
			continue
		}
		delete(h.units, name)
		service := strings.TrimSuffix(name, ".timer") + ".service"
		h.units[service] = &unit{state: "active"}
		go func() {
			out, err := h.shell(h.world.memo.waiting(u.script), nil)
			h.world.mu.Lock()
			defer h.world.mu.Unlock()
			h.journal = append(h.journal, fmt.Sprintf("%s: %s %v", service, out, err))
			delete(h.units, service)
			h.world.dirty = true
		}()
	}
}

// curl plays a look at an API server's status.
func curl(p program) error {
	flags, rest := p.options("-m", "-o", "-w")
	if flags["-w"] != "%{http_code}" || len(rest) != 1 {
		return fmt.Errorf("%q is not played", p.args)
	}
	u, err := url.Parse(rest[0])
	if err != nil {
		return err
	}
	r, err := p.host.world.route(p.host, u.Host)
	switch {
	case err != nil || r.kind != apiServer:
		p.out("000")
		return interp.ExitStatus(7)
	case p.host.world.notReady(r.host, r.pod) != nil:
		p.out("500")
	default:
		p.out("200")
	}
	return nil
}

// ps plays the two questions that are asked of it.
func ps(p program) error {
	switch line := strings.Join(p.args, " "); line {
	case "-C nginx -o etimes=,args=":
		for _, proc := range p.host.running("nginx") {
			p.out("%7d nginx: master process /usr/sbin/nginx\n", int(time.Since(proc.started).Seconds()))
			p.out("%7d nginx: worker process\n", int(time.Since(p.host.nginx.workers).Seconds()))
		}
	case "-C kube-apiserver -o rss=":
		for range p.host.running(apiComm) {
			p.out("%d\n", 300000)
		}
	default:
		return fmt.Errorf("%q is not played", line)
	}
	return nil
}
