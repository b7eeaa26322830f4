package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const (
	workerConnectionsID = "loadbalancer/worker-connections"
	nginxConf           = "/etc/nginx/nginx.conf"
)

// workerConnections raises nginx's limit where the clients of today would
// not fit: each proxied connection takes two, and watches stay open.
func workerConnections() phases.Step {
	return phases.Step{
		ID:     workerConnectionsID,
		Title:  "Give nginx enough worker_connections",
		Why:    "Debian's 768 are 384 clients a worker; the one too many gets no answer.",
		On:     migrate.LoadBalancers,
		Needs:  []migrate.StepID{"loadbalancer/nginx"},
		ByHand: "Count the clients on {{.First.Name}} and set `worker_connections` in `events { }` of nginx.conf to at least four times that:\n\n```\nss -Htn state established '( sport = :6443 )' | wc -l\n```\n",
		Check:  checkWorkerConnections,
		Apply:  applyWorkerConnections,
		Verify: verifyWorkerConnections,
		Undo:   undoWorkerConnections,
		Settle: 10 * time.Second,
	}
}

var workerConnectionsLine = regexp.MustCompile(`(?m)^([^#\n]*\bworker_connections\s+)(\d+)(\s*;)`)

// neededConnections is twice what the clients of the API take now (two each),
// and some for everything else that nginx serves.
func neededConnections(ctx context.Context, v phases.Reader) (int, error) {
	address, err := v.APIAddress(ctx, v.First().Name)
	if err != nil {
		return 0, err
	}
	port := address[strings.LastIndex(address, ":"):]
	out, err := v.On(v.First().Name).Look(ctx, remote.Command{Script: "ss -Htn state established '( sport = " + port + " )' | wc -l"})
	if err != nil {
		return 0, fmt.Errorf("counting the API's clients on %s: %w", v.First().Name, err)
	}
	clients, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return 0, fmt.Errorf("counting the API's clients on %s: %w", v.First().Name, err)
	}
	return 4*clients + 256, nil
}

// wantedConnections is neededConnections, and more than there are now where
// they are what an earlier run has found too few: the number was brought back
// since, and the clients of this moment may be fewer by chance.
func wantedConnections(ctx context.Context, v phases.Reader, conf []byte) (int, error) {
	need, err := neededConnections(ctx, v)
	have := configuredConnections(conf)
	if err != nil || have < need {
		return need, err
	}
	kept, err := v.On(v.Target()).ReadFile(ctx, path.Join(hostfiles.BackupDir(workerConnectionsID), nginxConf))
	if errors.Is(err, fs.ErrNotExist) {
		return need, nil
	}
	if err == nil && configuredConnections(kept.Data) == have {
		need = have + 1
	}
	return need, err
}

// configuredConnections is nginx's limit, 512 where nothing is said
// (ngx_event.c: DEFAULT_CONNECTIONS).
func configuredConnections(conf []byte) int {
	m := workerConnectionsLine.FindSubmatch(conf)
	if m == nil {
		return 512
	}
	n, err := strconv.Atoi(string(m[2]))
	if err != nil {
		return 512
	}
	return n
}

func checkWorkerConnections(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	f, err := v.On(v.Target()).ReadFile(ctx, nginxConf)
	if err != nil {
		// Without an nginx.conf nginx is still to be installed, and its
		// package brings one.
		return phases.Need(nil, "nginx is not configured yet"), nil
	}
	need, err := wantedConnections(ctx, v, f.Data)
	if err != nil {
		return migrate.Finding{}, err
	}
	have := configuredConnections(f.Data)
	if have >= need {
		return phases.Done("worker_connections is %d, %d are enough", have, need), nil
	}
	changed, err := raiseConnections(f.Data, need)
	if err != nil {
		return phases.Block("set worker_connections in the events block of "+nginxConf, "%v", err), nil
	}
	finding := phases.Need(migrate.Before{"worker_connections": strconv.Itoa(have)},
		"worker_connections is %d, the API's clients need %d", have, need)
	before, after := changedLines(f.Data, changed)
	finding.Changes = []migrate.Change{{Object: v.Target() + ":" + nginxConf, Before: before, After: after}}
	return finding, nil
}

// changedLines are the lines in which two texts of as many lines differ: the
// rest of somebody's file may hold secrets, and is none of the plan's.
func changedLines(old, now []byte) (before, after string) {
	lines := bytes.SplitAfter(now, []byte("\n"))
	for i, line := range bytes.SplitAfter(old, []byte("\n")) {
		if i < len(lines) && !bytes.Equal(line, lines[i]) {
			before += string(line)
			after += string(lines[i])
		}
	}
	return before, after
}

// eventsBlock is where a line is put that is not there: in an events block that
// begins a line, as everybody writes it.
var eventsBlock = regexp.MustCompile(`(?m)^([^#\n]*\bevents\s*\{)`)

// maxConnections is far above what a host has ports and memory for.
const maxConnections = 1 << 24

// raiseConnections sets the limit to the next power of two, which leaves
// room for the workers to come.
func raiseConnections(conf []byte, need int) ([]byte, error) {
	n := 1024
	if need > maxConnections {
		return nil, fmt.Errorf("the API's clients are said to need %d connections, which is no number of connections", need)
	}
	for n < need {
		n *= 2
	}
	if workerConnectionsLine.Match(conf) {
		return workerConnectionsLine.ReplaceAll(conf, fmt.Appendf(nil, "${1}%d${3}", n)), nil
	}
	at := eventsBlock.FindIndex(conf)
	if at == nil {
		return nil, fmt.Errorf("%s has neither a worker_connections line nor an events block", nginxConf)
	}
	return slices.Concat(conf[:at[1]], fmt.Appendf(nil, " worker_connections %d;", n), conf[at[1]:]), nil
}

func applyWorkerConnections(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	host := h.On(h.Target())
	f, err := host.ReadFile(ctx, nginxConf)
	if err != nil {
		return err
	}
	need, err := wantedConnections(ctx, h.Reader, f.Data)
	if err != nil {
		return err
	}
	if configuredConnections(f.Data) >= need {
		return nil
	}
	if err := hostfiles.Backup(ctx, host, workerConnectionsID, nginxConf); err != nil {
		return err
	}
	if f.Data, err = raiseConnections(f.Data, need); err != nil {
		return err
	}
	return host.WriteFile(ctx, f)
}

// verifyWorkerConnections asks nginx itself whether the file is sound; the
// next step reloads it.
func verifyWorkerConnections(ctx context.Context, v phases.Reader) error {
	if _, err := v.On(v.Target()).Look(ctx, remote.Program("nginx", "-t")); err != nil {
		return fmt.Errorf("testing the configuration of nginx on %s: %w", v.Target(), err)
	}
	return nil
}

// undoWorkerConnections brings the number of before back, and has nginx load
// it. The copy of nginx.conf stays: see wantedConnections.
func undoWorkerConnections(ctx context.Context, h phases.Writer, before migrate.Before) error {
	host := h.On(h.Target())
	f, err := host.ReadFile(ctx, nginxConf)
	if errors.Is(err, fs.ErrNotExist) || before["worker_connections"] == "" {
		return nil // nginx is gone, or was not there yet
	}
	if err != nil {
		return err
	}
	// The copy is made before the change: without one there was none.
	kept, err := host.ReadFile(ctx, path.Join(hostfiles.BackupDir(workerConnectionsID), nginxConf))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	former := f
	former.Data = workerConnectionsLine.ReplaceAll(f.Data, []byte("${1}"+before["worker_connections"]+"${3}"))
	if raised, err := raiseConnections(kept.Data, configuredConnections(f.Data)); err == nil && bytes.Equal(raised, f.Data) {
		former.Data = kept.Data // there was no such line
	}
	if configuredConnections(f.Data) > configuredConnections(former.Data) {
		if err := host.WriteFile(ctx, former); err != nil {
			return err
		}
		if err := verifyWorkerConnections(ctx, h.Reader); err != nil {
			return errors.Join(fmt.Errorf("%w (not loaded, the one that runs is put back)", err), host.WriteFile(ctx, f))
		}
	}
	// Loaded in any case: a run that was killed may have changed the file and
	// no more, and a reload that changes nothing is not noticed.
	if _, err := host.Run(ctx, remote.Command{Script: reloadActive, Waits: true}); err != nil {
		return fmt.Errorf("loading the previous configuration of nginx on %s: %w", h.Target(), err)
	}
	return nil
}
