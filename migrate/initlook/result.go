package initlook

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"hamigrate/migrate/initspec"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"
)

// Result is what `init -o json` prints.
type Result struct {
	File   string                `json:"file"`
	Found  initspec.Found        `json:"found"`
	Blanks []initspec.BlankField `json:"blanks"`
	// Jumps are the bastions that ~/.ssh/config has to know.
	Jumps []initspec.Jump `json:"jumps"`
	// Notes are what an inventory says and the spec does not.
	Notes []string `json:"notes"`
	Next  []string `json:"next"`
}

// Create writes the file, unless one is there by now, and returns what is to be told.
func Create(file string, found initspec.Found, choice initspec.Choice) (Result, error) {
	spec, err := initspec.Write(file, found, choice)
	if err != nil {
		return Result{}, err
	}
	choice, blanks := spec.Choice, spec.Blanks
	if err := createFile(file, spec.Data); err != nil {
		return Result{}, err
	}
	return Result{File: file, Found: found, Blanks: blanks, Next: nextAfterInit(file, blanks, choice.Jumps),
		Jumps: append([]initspec.Jump{}, choice.Jumps...), Notes: append([]string{}, choice.Notes...)}, nil
}

// errSpecThere: whatever the file is, it is somebody's.
func ErrThere(file string) error {
	return fmt.Errorf("%s is there already and is not overwritten: name another file with --file, or move it away", file)
}

// createFile writes a file that must not be there.
func createFile(file string, data []byte) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return ErrThere(file)
	}
	if err != nil {
		return fmt.Errorf("writing the spec: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(fmt.Errorf("writing the spec: %w", err), os.Remove(file))
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// nextAfterInit are the commands that follow.
func nextAfterInit(file string, blanks []initspec.BlankField, jumps []initspec.Jump) []string {
	flag := ""
	if file != "migrate.yaml" {
		flag = " --file " + remote.Quote(file)
	}
	var next []string
	if len(jumps) > 0 {
		next = append(next, "add the lines above to ~/.ssh/config")
	}
	if len(blanks) > 0 {
		next = append(next, fmt.Sprintf("fill in the %d blanks of %s (docs/init.md says what to choose)", len(blanks), file))
	}
	return append(next, "migrate preflight"+flag, "migrate plan"+flag)
}

// Print tells a person what was found and what comes next.
func Print(w io.Writer, r Result) error {
	f := r.Found
	show.Fprintf(w, "%s is the control-plane node of a kubeadm cluster with Kubernetes %s.\n\n", f.First.Name, f.KubernetesVersion)
	show.Fprintf(w, "  API server  %s, control-plane endpoint: %s\n", net.JoinHostPort(f.First.Address, f.APIPort), named(f.ControlPlaneEndpoint, "none"))
	show.Fprintf(w, "  etcd        %s, one member (%s), %.1f MB, peer URL %s\n", f.Etcd.Version, f.Etcd.Name, float64(f.Etcd.Bytes)/1e6, strings.Join(f.Etcd.PeerURLs, ","))
	show.Fprintf(w, "  networks    services %s, pods %s\n", named(f.ServiceSubnet, "unknown"), named(f.PodSubnet, "unknown"))
	for _, n := range append([]initspec.Node{f.First}, f.Workers...) {
		show.Fprintf(w, "  node        %s %s, %s, %s\n", n.Name, named(n.Address, "without InternalIP"), n.Version, readiness(n.Ready))
	}
	if notes := append(slices.Clone(f.Notes), r.Notes...); len(notes) > 0 {
		show.Fprintln(w, "\nMind:")
		for _, n := range notes {
			show.Fprintf(w, "  - %s\n", n)
		}
	}
	show.Fprintf(w, "\nWritten: %s. ", r.File)
	if len(r.Blanks) == 0 {
		show.Fprintln(w, "It has no blanks; read it all the same.")
	} else {
		show.Fprintf(w, "%d blanks in it are yours to fill in:\n", len(r.Blanks))
	}
	for _, b := range r.Blanks {
		show.Fprintf(w, "  line %-3d %s\n", b.Line, b.Field)
	}
	if len(r.Jumps) > 0 {
		show.Fprintf(w, "\nFor ~/.ssh/config:\n")
		for line := range strings.SplitSeq(initspec.JumpConfig(r.Jumps), "\n") {
			show.Fprintln(w, line)
		}
	}
	show.Fprintln(w, "\nNext:")
	for i, n := range r.Next {
		show.Fprintf(w, "  %d. %s\n", i+1, n)
	}
	_, err := show.Fprintln(w, "Nothing was changed on the cluster.")
	return err
}

func readiness(ready bool) string {
	if ready {
		return "Ready"
	}
	return "not Ready"
}

// named returns v, or what stands for it where it is empty.
func named(v, fallback string) string {
	if v == "" {
		return fallback
	}
	return v
}
