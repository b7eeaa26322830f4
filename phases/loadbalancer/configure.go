package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// layout says where on this nginx our file belongs.
type layout struct {
	file    string
	bare    bool   // the file is included inside a stream block that is there
	include string // line to append to nginx.conf, "" where none is needed
	nofile  int
}

// ownFolder is where our file goes when nginx.conf has no folder for it, by a
// line of our own.
const (
	ownFolder  = "/etc/nginx/migrate.d"
	ownInclude = "include " + ownFolder + "/*.conf"
)

var streamInclude = regexp.MustCompile(`(?:^|[;{}\s])include\s+([^\s;]+)/\*\.conf\s*;`)

// errOwnStream is a stream block of the operator's without an include.
var errOwnStream = errors.New("nginx.conf has a stream block of its own without an include line")

// findLayout reads nginx.conf: a second stream block would be refused by
// nginx, so one that is there is used through its include line.
func findLayout(ctx context.Context, r remote.Reader) (layout, error) {
	f, err := r.ReadFile(ctx, nginxConf)
	if err != nil {
		return layout{}, err
	}
	blocks, directives := mainContext(string(f.Data))
	l := layout{nofile: 65536, file: StreamFile}
	if slices.ContainsFunc(directives, func(d string) bool { return strings.HasPrefix(d, "worker_rlimit_nofile ") }) {
		l.nofile = 0
	}
	if block, ok := blocks["stream"]; ok {
		inc := streamInclude.FindStringSubmatch(block)
		if inc == nil {
			return layout{}, errOwnStream
		}
		dir := inc[1]
		if !path.IsAbs(dir) {
			dir = path.Join(path.Dir(nginxConf), dir)
		}
		l.file, l.bare = path.Join(dir, path.Base(StreamFile)), true
		return l, nil
	}
	if !slices.Contains(directives, "include "+path.Dir(StreamFile)+"/*.conf") {
		l.file = ownFolder + "/kube-apiserver.conf"
		if !slices.Contains(directives, ownInclude) {
			l.include = ownInclude + ";"
		}
	}
	return l, nil
}

// present reads our file and the backends in it; no file means none.
func present(ctx context.Context, r remote.Reader, l layout) (string, []string, error) {
	f, err := r.ReadFile(ctx, l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	return string(f.Data), Backends(f.Data), nil
}

// PresentBackends lists the API servers that a load balancer forwards to by
// our file.
func PresentBackends(ctx context.Context, r remote.Reader) ([]string, error) {
	l, err := findLayout(ctx, r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, list, err := present(ctx, r, l)
	return list, err
}

// Forwarding is PresentBackends, and says besides whether nginx has read our
// file since it was last written.
func Forwarding(ctx context.Context, r remote.Reader) (backends []string, loaded bool, err error) {
	l, err := findLayout(ctx, r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	err = phases.SideBySide(
		func() (err error) { _, backends, err = present(ctx, r, l); return err },
		func() (err error) { loaded, err = l.loaded(ctx, r); return err })
	return backends, loaded, err
}

// loaded says whether nginx has read our file since it was last written: its
// workers are replaced by every reload, so the youngest must not be older than
// the file.
func (l layout) loaded(ctx context.Context, r remote.Reader) (bool, error) {
	script := fmt.Sprintf(`m=$(stat -c %%Y %s) || exit 0
e=$(ps -C nginx -o etimes=,args= | awk '/worker process/ && !/shutting down/ {print $1}' | sort -n | head -n 1)
[ -n "$e" ] && [ $(($(date +%%s) - e)) -ge "$m" ] && echo loaded || true`, remote.Quote(l.file))
	out, err := r.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return false, fmt.Errorf("asking whether nginx on %s has loaded its configuration: %w", r.Name(), err)
	}
	return strings.TrimSpace(out) == "loaded", nil
}

// Configure makes a load balancer forward the endpoint's port to these
// backends: our file is written, tested with `nginx -t`, and nginx is
// reloaded, or started where it is stopped. When the test fails, the file of
// before is put back and nginx has noticed nothing. A reload keeps every
// open connection: old workers serve theirs to the end.
func Configure(ctx context.Context, h remote.Host, v phases.View, backends []string) error {
	l, err := findLayout(ctx, h)
	if err != nil {
		return fmt.Errorf("reading the configuration of nginx on %s: %w", h.Name(), err)
	}
	before, _, err := present(ctx, h, l)
	if err != nil {
		return err
	}
	if l.include != "" {
		if err := appendInclude(ctx, h, l.include); err != nil {
			return err
		}
	}
	u := Upstream{Port: v.Spec().Endpoint.Port, Backends: backends, Bare: l.bare, Nofile: l.nofile}
	if err := h.WriteFile(ctx, remote.File{Path: l.file, Data: []byte(u.Render()), Mode: 0o644}); err != nil {
		return err
	}
	if _, err := h.Run(ctx, remote.Cmd("nginx", "-t")); err != nil {
		return errors.Join(fmt.Errorf("testing the new configuration of nginx on %s (not loaded, the old one is put back): %w", h.Name(), err),
			putBack(ctx, h, l.file, before))
	}
	if _, err := h.Run(ctx, remote.Command{Script: reloadScript}); err != nil {
		return fmt.Errorf("loading the new configuration of nginx on %s: %w", h.Name(), err)
	}
	return nil
}

// reloadScript loads the configuration and makes sure that nginx comes back
// after a reboot: from now on the API's clients depend on it.
const reloadScript = `set -eu
systemctl enable --quiet nginx
if systemctl is-active --quiet nginx; then systemctl reload nginx; else systemctl start nginx; fi`

func putBack(ctx context.Context, h remote.Host, file, before string) error {
	if before == "" {
		return h.Remove(ctx, file)
	}
	return h.WriteFile(ctx, remote.File{Path: file, Data: []byte(before)})
}

func appendInclude(ctx context.Context, h remote.Host, line string) error {
	f, err := h.ReadFile(ctx, nginxConf)
	if err != nil {
		return err
	}
	if err := phases.Backup(ctx, h, nginxStreamID, nginxConf); err != nil {
		return err
	}
	f.Data = withLine(f.Data, line)
	return h.WriteFile(ctx, f)
}

// withLine is a text with one line more at its end.
func withLine(text []byte, line string) []byte {
	return []byte(strings.TrimRight(string(text), "\n") + "\n" + line + "\n")
}
