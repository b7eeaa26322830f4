package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/phases/balancer"
)

// reloadActive loads the configuration; an nginx that is stopped stays so.
const reloadActive = `if systemctl is-active --quiet nginx; then systemctl reload nginx; fi`

// fileBack brings our file and our line in nginx.conf back to what they were,
// and says whether there was something to change. What nginx then refuses is
// not left behind.
func fileBack(ctx context.Context, h remote.Host, l layout, content string) (changed bool, err error) {
	if strings.HasPrefix(content, ownHeader) {
		content = "" // ours, from a run whose journal is lost
	}
	now, _, err := present(ctx, h, l)
	if err != nil {
		return false, err
	}
	conf, err := h.ReadFile(ctx, nginxConf)
	if err != nil {
		return false, err
	}
	former, err := withoutLines(ctx, h, conf)
	if err != nil {
		return false, err
	}
	if now == content && bytes.Equal(former.Data, conf.Data) {
		return false, nil
	}
	// Our file goes first: it may need the module that nginx.conf loads for it,
	// and a folder without a file may be included. What somebody else had in its
	// place comes back when nginx does not look for it any more.
	steps := []func() error{
		func() error { return putBack(ctx, h, l.file, content) },
		func() error {
			if bytes.Equal(former.Data, conf.Data) {
				return nil
			}
			return h.WriteFile(ctx, former)
		},
	}
	if content != "" {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return false, err
		}
	}
	if _, err := h.Run(ctx, remote.Program("nginx", "-t")); err != nil {
		err = fmt.Errorf("testing the previous configuration of nginx on %s (not loaded, the one that runs is put back): %w", h.Name(), err)
		if now != "" {
			err = errors.Join(err, h.WriteFile(ctx, remote.File{Path: l.file, Data: []byte(now), Mode: 0o644}))
		}
		return false, errors.Join(err, h.WriteFile(ctx, conf))
	}
	if path.Dir(l.file) == ownFolder && content == "" {
		_, err = h.Run(ctx, remote.Command{Script: "rmdir " + ownFolder + " 2>/dev/null || true"})
	}
	return true, err
}

// serviceState is how nginx was before: Apply starts and enables it.
func serviceState(ctx context.Context, r remote.Reader) (active, enabled string, err error) {
	return balancer.ServiceState(ctx, r, "nginx")
}

// serviceBack stops and disables an nginx that was stopped and disabled. A
// journal of an earlier version does not say, and then it goes on running.
func serviceBack(ctx context.Context, h remote.Host, before migrate.Before) error {
	active, enabled, err := serviceState(ctx, h)
	if err != nil {
		return err
	}
	var verbs []string
	if before["active"] == "inactive" && active == "active" {
		verbs = append(verbs, "stop")
	}
	if before["enabled"] == "disabled" && enabled == "enabled" {
		verbs = append(verbs, "disable")
	}
	for _, verb := range verbs {
		if _, err := h.Run(ctx, remote.Program("systemctl", verb, "nginx")); err != nil {
			return fmt.Errorf("bringing the service of nginx on %s back to what it was: %w", h.Name(), err)
		}
	}
	return nil
}
