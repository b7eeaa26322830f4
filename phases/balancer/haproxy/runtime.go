package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/remote"
)

// lookScript asks the process that runs. It prints nothing where none answers.
const lookScript = `printf 'show info;show servers state ` + proxyName + `\n' | socat -t5 - UNIX-CONNECT:` + lookSocket + ` 2>/dev/null || true`

// running is what the process of our unit says of itself.
type running struct {
	answers     bool
	description string
	servers     []Server // On: not switched off, whatever its checks say
}

// askRunning asks the process of our unit on a host.
func askRunning(ctx context.Context, r remote.Reader) (running, error) {
	out, err := r.Look(ctx, remote.Command{Script: lookScript})
	if err != nil {
		return running{}, fmt.Errorf("asking HAProxy on %s for its servers: %w", r.Name(), err)
	}
	return parseRunning(out), nil
}

// Of srv_admin_state, these bits say that a server was switched off: forced or
// inherited maintenance, one whose name does not resolve, and the two of draining.
// Bit 0x04 is none of them: it says that the file has the server as disabled, and
// stays when it is switched on (include/haproxy/server-t.h: SRV_ADMF_CMAINT).
const switchedOff = 0x01 | 0x02 | 0x08 | 0x10 | 0x20

// parseRunning reads `show info` and `show servers state`.
func parseRunning(out string) running {
	var r running
	columns := map[string]int{}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if text, is := strings.CutPrefix(line, "description: "); is {
			r.answers, r.description = true, text
			continue
		}
		if names, is := strings.CutPrefix(line, "# be_id "); is {
			for i, name := range strings.Fields("be_id " + names) {
				columns[name] = i
			}
			continue
		}
		words := strings.Fields(line)
		field := func(name string) string {
			if i, known := columns[name]; known && i < len(words) {
				return words[i]
			}
			return ""
		}
		admin, err := strconv.Atoi(field("srv_admin_state"))
		if field("be_name") != proxyName || err != nil {
			continue
		}
		address := field("srv_addr")
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		r.servers = append(r.servers, Server{Name: field("srv_name"), Address: address + ":" + field("srv_port"), On: admin&switchedOff == 0})
	}
	return r
}

// host is what there is of ours on a load balancer's host.
type host struct {
	file    string // the text, "" where there is none
	unit    string // the text, "" where there is none
	servers []Server
	running running
}

// current says whether the running process has the file as it is, as far as a reload
// would be needed for it.
func (h host) current(c Config) bool {
	return h.running.answers && h.running.description == c.description()
}

// passes says whether new connections may go to an API server: by the running
// process, where there is one, and by the file.
func (h host) passes(address string) (now, atNextStart bool) {
	return slices.Contains(on(h.running.servers), address), slices.Contains(on(h.servers), address)
}

// look reads it.
func look(ctx context.Context, r remote.Reader) (h host, err error) {
	err = parallel.Do(
		func() (err error) { h.file, err = readText(ctx, r, configFile); return err },
		func() (err error) { h.unit, err = readText(ctx, r, unitFile); return err },
		func() (err error) { h.running, err = askRunning(ctx, r); return err })
	h.servers = Servers(h.file)
	return h, err
}

func readText(ctx context.Context, r remote.Reader, name string) (string, error) {
	f, err := r.ReadFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(f.Data), err
}

// set switches servers of the running process. HAProxy answers with a line where it
// does not do it, and the exit status says nothing of that.
func set(ctx context.Context, h remote.Host, list []Server, on bool) error {
	if len(list) == 0 {
		return nil
	}
	state := map[bool]string{true: "ready", false: "maint"}[on]
	var commands []string
	for _, s := range list {
		commands = append(commands, fmt.Sprintf("set server %s/%s state %s", proxyName, s.Name, state))
	}
	out, err := h.Run(ctx, remote.Command{Script: "printf '%s\\n' " + remote.Quote(strings.Join(commands, ";")) + " | socat -t5 - UNIX-CONNECT:" + adminSocket})
	if err == nil && strings.TrimSpace(out) != "" {
		err = errors.New(strings.TrimSpace(out))
	}
	if err != nil {
		return fmt.Errorf("switching API servers of HAProxy on %s to %s: %w", h.Name(), state, err)
	}
	return nil
}
