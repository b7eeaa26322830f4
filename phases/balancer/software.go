package balancer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hamigrate/migrate/remote"
	"hamigrate/phases"
	"hamigrate/phases/platform"
)

// Software is the programs that a kind needs on its hosts, as packages.
type Software struct {
	Program string   // of which nothing is started while it is installed: "nginx"
	Whole   string   // in a sentence: "nginx with its stream module"
	Debian  []string // the packages that it is made of there
	Wanted  func(platform.Family) platform.Packages
}

// InstallScript installs only what is missing.
func (s Software) InstallScript() string {
	return "set -eu\n" + platform.Choose(func(f platform.Family) string { return f.Install(s.Wanted(f)) },
		`echo "neither apt-get nor dnf is here: install `+s.Whole+` by hand" >&2; exit 1`)
}

// Simulate is a script that prints what the installation would do, where the
// package manager can say.
func (s Software) Simulate() string {
	return platform.Choose(func(f platform.Family) string {
		if script := f.Simulate(s.Wanted(f)); script != "" {
			return script + ` 2>&1 || echo "@failed"`
		}
		return ":"
	}, ":")
}

// ByHand are the commands that a person types.
func (s Software) ByHand() string {
	var out []string
	for _, f := range platform.Families() {
		out = append(out, f.ByHand(s.Wanted(f)))
	}
	return strings.Join(out, "    # or: ")
}

// Half is a script that prints which of its packages are installed in part.
func (s Software) Half() string { return platform.HalfInstalled(s.Debian...) }

// Install runs the script on the target, and says of one that failed what is left.
func (s Software) Install(ctx context.Context, h phases.Writer) error {
	host := h.On(h.Target())
	_, err := host.Run(ctx, remote.Command{Script: s.InstallScript(), Detach: "install-" + s.Program, Waits: true})
	if err == nil || ctx.Err() != nil || errors.Is(err, remote.ErrUnknownOutcome) {
		return err
	}
	left, lookErr := host.Look(ctx, remote.Command{Script: s.Half()})
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	what := "nothing is half installed"
	if left = strings.TrimSpace(left); left != "" {
		what = "what is left: " + strings.ReplaceAll(left, "\n", ", ")
	}
	return fmt.Errorf("%w; %s. Fix what it says and run again, which goes on from there; by hand it is `apt-get install -f`", err, what)
}

// Installable says what an installation on the target would meet. It takes no
// lock. ask is a script of the kind's own that goes before, which prints parts that
// each begin with a line "@@name"; they are handed back by their names.
func (s Software) Installable(ctx context.Context, v phases.Reader, reason, ask string) (Outlook, map[string]string, error) {
	text, err := v.On(v.Target()).Look(ctx, remote.Command{Script: ask + `
echo @@manager; ` + platform.Managers() + `
echo @@half; ` + platform.HalfInstalled() + `
echo @@lock; ` + platform.ManagerLocked + `
echo @@simulated; ` + s.Simulate(), Waits: true})
	if err != nil {
		return Outlook{}, nil, fmt.Errorf("asking what installing %s on %s would meet: %w", s.Program, v.Target(), err)
	}
	part := map[string]string{}
	for p := range strings.SplitSeq("\n"+text, "\n@@") {
		name, body, _ := strings.Cut(p, "\n")
		part[name] = strings.TrimSpace(body)
	}
	if part["manager"] == "" {
		return Outlook{Found: []Finding{Stop("install "+s.Whole+" by hand", "%s, and there is neither apt-get nor dnf", reason)}}, part, nil
	}
	out := Fine("%s; it can be installed", reason)
	out.Found = slices.Concat(s.halfConfigured(part["half"]), s.simulated(part["simulated"]))
	if part["lock"] != "" {
		out.Found = append(out.Found, Warn("wait for it: `fuser -v /var/lib/dpkg/lock-frontend`", "another program holds the package manager's lock now; the installation waits two minutes for it"))
	}
	return out, part, nil
}

// halfConfigured: packages of its own are ended by phase 1, others' are not ours to end.
func (s Software) halfConfigured(list string) []Finding {
	var others []string
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, s.Program) && !strings.HasPrefix(line, "lib"+s.Program) {
			others = append(others, line)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return []Finding{Stop("`dpkg --configure -a`", "the package manager would first have to end what others began: %s", strings.Join(others, ", "))}
}

// simulated reads what `apt-get -s install` says.
func (s Software) simulated(text string) []Finding {
	var out []Finding
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "Remv ") && len(words) > 1:
			out = append(out, Stop("install "+s.Whole+" by hand", "installing it would remove %s", words[1]))
		case strings.HasPrefix(line, "Inst "+s.Program) && len(words) > 2 && strings.HasPrefix(words[2], "["):
			with := s.Debian[len(s.Debian)-1]
			out = append(out, Warn("plan it: `apt-get -s install "+with+"` shows the versions", "installing %s brings another version of %s, which is restarted with it", with, words[1]))
		}
	}
	if strings.HasSuffix(text, "@failed") {
		why := "apt-get does not say why"
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "E: ") {
				why = strings.TrimSpace(line)
				break
			}
		}
		by := s.Debian[0] + " and " + s.Debian[len(s.Debian)-1]
		out = append(out, Stop("`apt-get update`, with a package source in /etc/apt/sources.list that the host reaches; or install "+by+" by hand", "%s can't be installed: %s", s.Program, why))
	}
	return out
}
