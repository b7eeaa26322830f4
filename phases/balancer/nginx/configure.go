package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/balancer"
	"hamigrate/phases/platform"
)

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
func PresentBackends(ctx context.Context, r remote.Reader, v phases.Reader) ([]string, error) {
	l, err := findLayout(ctx, r, v.Spec().Endpoint.Port)
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
func Forwarding(ctx context.Context, r remote.Reader, v phases.Reader) (backends []string, loaded bool, err error) {
	l, err := findLayout(ctx, r, v.Spec().Endpoint.Port)
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, new(streamBlockError)) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	err = parallel.Do(
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

// written are the files of ours on one nginx: as they are, and as they shall be.
type written struct {
	layout
	conf, own       remote.File // conf is nginx.conf
	before          string      // of our own file
	edited, differs bool        // nginx.conf has to be changed; one of them has
}

// plan says what Configure would write for these backends.
func plan(ctx context.Context, r remote.Reader, v phases.Reader, l layout, backends []string) (written, error) {
	w := written{layout: l}
	var conf remote.File
	err := parallel.Do(
		func() (err error) { conf, err = r.ReadFile(ctx, nginxConf); return err },
		func() (err error) { w.before, _, err = present(ctx, r, l); return err })
	if err != nil {
		return written{}, err
	}
	u := Upstream{Port: v.Spec().Endpoint.Port, Backends: backends, Bare: l.bare, Nofile: l.nofile}
	w.own = remote.File{Path: l.file, Data: []byte(u.Render()), Mode: 0o644}
	w.conf = conf
	w.conf.Data = l.edited(conf.Data)
	w.edited = !bytes.Equal(w.conf.Data, conf.Data)
	w.differs = w.edited || !sameToNginx(w.before, string(w.own.Data))
	return w, nil
}

// files lists those to write, nginx.conf first: a folder that it includes may
// be empty.
func (w written) files() []remote.File {
	if w.edited {
		return []remote.File{w.conf, w.own}
	}
	return []remote.File{w.own}
}

// Configure makes a load balancer forward the endpoint's port to these
// backends. nginx judges the new configuration beside the old one first; then
// it is written, tested in its place, and nginx is reloaded, or started where
// it is stopped, and has to listen on the port. When one of these fails, all
// that was written is put back, nginx.conf byte for byte. A reload keeps every
// open connection: old workers serve theirs to the end.
func Configure(ctx context.Context, h remote.Host, v phases.Reader, backends []string) error {
	l, err := findLayout(ctx, h, v.Spec().Endpoint.Port)
	if err != nil {
		return fmt.Errorf("reading the configuration of nginx on %s: %w", h.Name(), err)
	}
	w, err := plan(ctx, h, v, l, backends)
	if err != nil {
		return fmt.Errorf("reading the configuration of nginx on %s: %w", h.Name(), err)
	}
	if err := tryOut(ctx, h, w.files()...); err != nil && !errors.Is(err, errNoScratch) {
		return err
	}
	if w.edited {
		if err := hostfiles.Backup(ctx, h, nginxStreamID, nginxConf); err != nil {
			return err
		}
	}
	for _, f := range w.files() {
		if err := h.WriteFile(ctx, f); err != nil {
			return err
		}
	}
	if _, err := h.Run(ctx, remote.Program("nginx", "-t")); err != nil {
		return errors.Join(fmt.Errorf("testing the new configuration of nginx on %s (not loaded, the old one is put back): %w", h.Name(), err), w.back(ctx, h))
	}
	return w.reload(ctx, h, v)
}

// reloadScript loads the configuration.
const reloadScript = `if systemctl is-active --quiet nginx; then systemctl reload nginx; else systemctl start nginx; fi`

// listensWithin is how long nginx may take to listen after a reload, which
// ends before its workers are there.
const listensWithin = 10 * time.Second

// reload makes sure that nginx comes back after a reboot, and loads what was
// written. The API's clients depend on it from the reload on, so a run that is
// killed between the two must not leave one that serves and does not come back.
// A reload says nothing of a port that can't be had: nginx goes on with what it
// had, and would not start at the next boot.
func (w written) reload(ctx context.Context, h remote.Host, v phases.Reader) error {
	active, enabled, err := serviceState(ctx, h)
	if err != nil {
		return err
	}
	since, err := w.now(ctx, h)
	if err != nil {
		return err
	}
	if !balancer.StartsAtBoot(enabled) {
		if _, err = h.Run(ctx, remote.Program("systemctl", "enable", "--quiet", "nginx")); err != nil {
			err = fmt.Errorf("letting nginx start at boot: %w", err)
		}
	}
	if err == nil {
		_, err = h.Run(ctx, remote.Command{Script: reloadScript, Waits: true})
	}
	if err == nil {
		err = phases.Await(ctx, v, listensWithin, func(ctx context.Context) error {
			holder, err := balancer.PortHolder(ctx, h, v.Spec().Endpoint.Port)
			if err == nil && holder != "nginx" {
				err = fmt.Errorf("nginx does not listen on port %d", v.Spec().Endpoint.Port)
			}
			return err
		})
	}
	if errors.Is(err, remote.ErrUnknownOutcome) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		err = fmt.Errorf("loading the new configuration of nginx on %s%s (the old one is put back): %w", h.Name(), w.why(ctx, h, v.Spec().Endpoint.Port, since), err)
		err = errors.Join(err, w.back(ctx, h))
		if enabled == "disabled" {
			_, disableErr := h.Run(ctx, remote.Program("systemctl", "disable", "--quiet", "nginx"))
			err = errors.Join(err, disableErr)
		}
		if active != "active" {
			return err
		}
		_, again := h.Run(ctx, remote.Command{Script: reloadActive, Waits: true})
		return errors.Join(err, again)
	}
	return nil
}

// moment is a place in what nginx says: the host's clock, and the bytes that its
// error log has.
type moment struct{ second, size int64 }

// now is the place before a change. What nginx has said before is about others.
func (w written) now(ctx context.Context, r remote.Reader) (m moment, err error) {
	out, err := r.Look(ctx, remote.Command{Script: fmt.Sprintf("date +%%s\nstat -L -c %%s %s 2>/dev/null || echo 0", remote.Quote(w.errors))})
	if err != nil {
		return m, fmt.Errorf("looking at the error log of nginx on %s: %w", r.Name(), err)
	}
	if _, err := fmt.Sscan(out, &m.second, &m.size); err != nil {
		return m, fmt.Errorf("looking at the error log of nginx on %s: %w", r.Name(), err)
	}
	return m, nil
}

// why is nginx's own last complaint since then, with the remedy where SELinux
// enforces. A log that is shorter than it was is a new one.
func (w written) why(ctx context.Context, h remote.Reader, port int, since moment) string {
	script := fmt.Sprintf("journalctl -u nginx --since @%d -n 20 -o cat --no-pager 2>/dev/null | grep emerg | tail -n 1\ngetenforce 2>/dev/null || true", since.second)
	if w.errors != "" {
		log := remote.Quote(w.errors)
		script = fmt.Sprintf("f=%d; [ \"$(stat -L -c %%s %s 2>/dev/null || echo 0)\" -ge $f ] || f=0\ntail -c +$((f + 1)) %s 2>/dev/null | grep emerg | tail -n 1\n", since.size, log, log) + script
	}
	out, err := h.Look(ctx, remote.Command{Script: script})
	if err != nil {
		return ""
	}
	var says string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && line != "Enforcing" && line != "Permissive" && line != "Disabled" {
			says = fmt.Sprintf(", which says %q", line)
			break
		}
	}
	if strings.Contains(out, "Enforcing\n") {
		says += fmt.Sprintf("; SELinux enforces there: `%s`, and run again", platform.LabelPort(port))
	}
	return says
}

// back puts back what stood in the places of the files, nginx.conf last: our
// file may need the module that it loads.
func (w written) back(ctx context.Context, h remote.Host) error {
	err := putBack(ctx, h, w.file, w.before)
	if !w.edited {
		return err
	}
	conf, readErr := h.ReadFile(ctx, path.Join(hostfiles.BackupDir(nginxStreamID), nginxConf))
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	now, readErr := h.ReadFile(ctx, nginxConf)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if now, readErr = withoutLines(ctx, h, now); readErr != nil {
		return errors.Join(err, readErr)
	}
	if bytes.Equal(now.Data, conf.Data) {
		now.Mode, now.Owner = conf.Mode, conf.Owner
	}
	_, folderErr := h.Run(ctx, remote.Command{Script: "rmdir " + ownFolder + " 2>/dev/null || true"})
	return errors.Join(err, h.WriteFile(ctx, now), folderErr)
}

func putBack(ctx context.Context, h remote.Host, file, before string) error {
	if before == "" {
		return h.Remove(ctx, file)
	}
	return h.WriteFile(ctx, remote.File{Path: file, Data: []byte(before)})
}
