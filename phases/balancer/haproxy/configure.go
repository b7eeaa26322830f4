package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

// listensWithin is how long HAProxy may take to begin or to end listening.
const listensWithin = 10 * time.Second

// refusedError is what HAProxy says of a configuration that it does not take.
type refusedError struct{ host, says string }

func (e refusedError) Error() string {
	return fmt.Sprintf("HAProxy on %s would refuse the new configuration: %s", e.host, e.says)
}

// QuotesOthers: see remote.Quoting.
func (refusedError) QuotesOthers() {}

// judge lets HAProxy judge a configuration, before it is written; "" where it takes
// it. tried is false where there is no HAProxy yet.
func judge(ctx context.Context, r remote.Reader, c Config) (says string, tried bool, err error) {
	_, err = r.Look(ctx, remote.Command{Script: "command -v haproxy >/dev/null || exit 77\nhaproxy -c -f /dev/stdin", Stdin: []byte(c.Render()), Waits: true})
	var exit *remote.ExitError
	switch {
	case errors.As(err, &exit) && exit.Status == 77:
		return "", false, nil
	case errors.As(err, &exit):
		return complaint(exit.Stderr), true, nil
	case err != nil:
		return "", false, fmt.Errorf("asking HAProxy on %s whether it takes the new configuration: %w", r.Name(), err)
	}
	return "", true, nil
}

// complaint is the first line of what HAProxy prints that says what is wrong.
func complaint(stderr string) string {
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, "[ALERT]") {
			return strings.TrimSpace(line)
		}
	}
	return strings.TrimSpace(stderr)
}

// configure brings a host to a configuration. Where the running process has it but for
// what is switched on and off, it is only switched: off in the process first and then
// in the file, on in the file first and then in the process. So at any instant, killed
// anywhere, both say the same or the process that runs passes less. Otherwise the files
// are written, and HAProxy loads them: what it then refuses is undone.
func configure(ctx context.Context, h remote.Host, v phases.Reader, now host, c Config) error {
	if now.current(c) && now.unit == unitText {
		return switchTo(ctx, h, now, c)
	}
	if says, _, err := judge(ctx, h, c); err != nil {
		return err
	} else if says != "" {
		return refusedError{h.Name(), says}
	}
	for _, f := range []remote.File{{Path: configFile, Data: []byte(c.Render()), Mode: 0o644}, {Path: unitFile, Data: []byte(unitText), Mode: 0o644}} {
		if err := h.WriteFile(ctx, f); err != nil {
			return err
		}
	}
	err := load(ctx, h, v, c, now.running.answers)
	if err == nil || errors.Is(err, remote.ErrUnknownOutcome) || ctx.Err() != nil {
		return err
	}
	return errors.Join(fmt.Errorf("loading the new configuration of HAProxy on %s (the old one is put back): %w", h.Name(), err), back(ctx, h, now))
}

// switchTo switches what differs, and starts at boot what serves.
func switchTo(ctx context.Context, h remote.Host, now host, c Config) error {
	var off, up []Server
	for _, s := range c.Servers {
		is, _ := now.passes(s.Address)
		switch {
		case is && !s.On:
			off = append(off, s)
		case !is && s.On:
			up = append(up, s)
		}
	}
	if err := set(ctx, h, off, false); err != nil {
		return err
	}
	if now.file != c.Render() {
		if err := h.WriteFile(ctx, remote.File{Path: configFile, Data: []byte(c.Render()), Mode: 0o644}); err != nil {
			return err
		}
	}
	if err := set(ctx, h, up, true); err != nil {
		return err
	}
	return enable(ctx, h)
}

// enable lets our service start at boot, where it does not yet.
func enable(ctx context.Context, h remote.Host) error {
	if _, err := h.Run(ctx, remote.Program("systemctl", "enable", "--quiet", Unit)); err != nil {
		return fmt.Errorf("letting HAProxy start at boot on %s: %w", h.Name(), err)
	}
	return nil
}

// load makes HAProxy run with what is written, and start so at boot. One that answers
// is reloaded, which keeps its connections; one that only serves connections to their
// end, after an undone step, is not kept.
func load(ctx context.Context, h remote.Host, v phases.Reader, c Config, answers bool) error {
	if _, err := h.Run(ctx, remote.Program("systemctl", "daemon-reload")); err != nil {
		return err
	}
	if err := enable(ctx, h); err != nil {
		return err
	}
	verb := "restart"
	if answers {
		verb = "reload"
	}
	if _, err := h.Run(ctx, remote.Program("systemctl", verb, Unit)); err != nil {
		return err
	}
	// A reload ends before the new process is there, and where that can't begin the
	// old one goes on.
	return phases.Await(ctx, v, listensWithin, func(ctx context.Context) error {
		now, err := askRunning(ctx, h)
		if err == nil && (!now.answers || now.description != c.description()) {
			err = errors.New("HAProxy does not run with it")
		}
		return err
	})
}

// back puts back what was there before.
func back(ctx context.Context, h remote.Host, before host) error {
	if before.file == "" || before.unit == "" {
		_, err := h.Run(ctx, remote.Command{Script: "systemctl disable --quiet --now " + Unit, Waits: true})
		return errors.Join(err, h.Remove(ctx, unitFile), h.Remove(ctx, configFile))
	}
	err := errors.Join(h.WriteFile(ctx, remote.File{Path: configFile, Data: []byte(before.file)}), h.WriteFile(ctx, remote.File{Path: unitFile, Data: []byte(before.unit)}))
	if before.running.answers {
		_, again := h.Run(ctx, remote.Program("systemctl", "reload", Unit))
		err = errors.Join(err, again)
	}
	return err
}
