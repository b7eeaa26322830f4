package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/initspec"
	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/inventory"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/sshhost"
	"hamigrate/migrate/run"
	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "look at a cluster and write a spec file for it, with blanks for what is yours to choose",
		ArgsUsage: "[USER@]HOST[:PORT]",
		Description: "HOST is the control-plane node. It is reached as ssh reaches it (docs/ssh.md) and looked at;\n" +
			"nothing is changed. What is true of the cluster is filled in, and what is not there yet, the\n" +
			"load balancer, the etcd hosts and the new control-plane nodes, is a blank with a comment.\n" +
			"An inventory of Ansible's fills in more: its hosts are matched with the Nodes by address. Without\n" +
			"HOST the first host of its control-plane group is looked at. A file that is there is never overwritten. Flags stand before HOST.\n\n" + exitStatus,
		Flags: append(initFlags(), outputFlag("text", "json"),
			&cli.StringFlag{Name: "inventory", Aliases: []string{"i"}, Usage: "an Ansible inventory `FILE` or folder: INI, YAML, or what ansible-inventory --list prints"}),
		Action: looking(initAction),
	}
}

// initFlags are the common ones that mean something before there is a spec.
func initFlags() []cli.Flag {
	return slices.DeleteFunc(commonFlags(), func(f cli.Flag) bool { return f.Names()[0] == flagJournal })
}

// initResult is what `init -o json` prints.
type initResult struct {
	File   string                `json:"file"`
	Found  initspec.Found        `json:"found"`
	Blanks []initspec.BlankField `json:"blanks"`
	// Jumps are the bastions that ~/.ssh/config has to know.
	Jumps []initspec.Jump `json:"jumps"`
	// Notes are what an inventory says and the spec does not.
	Notes []string `json:"notes"`
	Next  []string `json:"next"`
}

func initAction(c *cli.Context) error {
	file := specFile(c)
	if file == inputfile.Stdin {
		return errors.New("`migrate init` writes the spec, and not to standard output: name a file with --file")
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return errSpecThere(file)
	}
	if _, err := checkOutput(flagFile, file, ownFiles{}); err != nil {
		return err
	}
	log, err := logger(c)
	if err != nil {
		return err
	}
	var groups *initspec.Groups
	name := c.String("inventory")
	if name != "" {
		inv, err := inventory.Read(c.Context, name)
		if err != nil {
			return err
		}
		groups = groupsOf(inv)
		if len(inv.ControlPlane) == 0 && c.Args().Len() == 0 {
			return failedInit(c.App.ErrWriter, groups, inv.WithoutControlPlane(againWithHost(c, name)))
		}
	}
	// The log is where that of all later commands on this cluster is. That there is
	// no spec in the end is what it is read for.
	keepLog(c, run.JournalBeside(file))
	ssh := sshOptions(c, log)
	ssh.NoSpec = true
	pools := newPools(ssh)
	defer pools.close()
	found, choice, err := lookAndChoose(c, pools, groups)
	if err != nil {
		return failedInit(c.App.ErrWriter, groups, err)
	}
	if err := context.Cause(c.Context); err != nil {
		return err // what was asked last may be missing
	}
	return writeSpec(c, file, found, choice)
}

// againWithHost is the command that was given, to which a host is to be added.
func againWithHost(c *cli.Context, inventory string) string {
	flag := ""
	if file := common(c, flagFile); file != "" && file != "migrate.yaml" {
		flag = " --file " + remote.Quote(file)
	}
	return "migrate init" + flag + " -i " + remote.Quote(inventory) + " "
}

// lookAndChoose looks at the cluster and takes over what an inventory says.
func lookAndChoose(c *cli.Context, pools *pools, groups *initspec.Groups) (initspec.Found, initspec.Choice, error) {
	if groups != nil {
		resolveMembers(c.Context, pools.by(""), groups)
	}
	h, err := initHost(c, groups)
	if err != nil {
		return initspec.Found{}, initspec.Choice{}, err
	}
	found, host, err := lookAtCluster(c.Context, pools.by(h.jump), h.host)
	if err != nil {
		return initspec.Found{}, initspec.Choice{}, err
	}
	if groups == nil {
		return found, initspec.Blank(found, h.typed), nil
	}
	groups.Reached, groups.ReachedName = h.typed, h.member
	// Without them it is recognised by what the API says of it.
	found.First.Shown, err = shownAddresses(c.Context, host)
	if err != nil {
		groups.Notes = append(groups.Notes, fmt.Sprintf("%s could not be asked for its addresses: %v", host.Name(), err))
	}
	askMembers(c.Context, groups, found, pools.askBySSH)
	return found, initspec.FromInventory(found, *groups), nil
}

// writeSpec writes the file, unless one is there by now, and tells.
func writeSpec(c *cli.Context, file string, found initspec.Found, choice initspec.Choice) error {
	spec, err := initspec.Write(file, found, choice)
	if err != nil {
		return err
	}
	choice, blanks := spec.Choice, spec.Blanks
	if err := createFile(file, spec.Data); err != nil {
		return err
	}
	r := initResult{File: file, Found: found, Blanks: blanks, Next: nextAfterInit(file, blanks, choice.Jumps),
		Jumps: append([]initspec.Jump{}, choice.Jumps...), Notes: append([]string{}, choice.Notes...)}
	if c.String("output") == "json" {
		return show.WriteJSON(c.App.Writer, r)
	}
	return printInit(c.App.Writer, r)
}

// errSpecThere: whatever the file is, it is somebody's.
func errSpecThere(file string) error {
	return fmt.Errorf("%s is there already and is not overwritten: name another file with --file, or move it away", file)
}

// createFile writes a file that must not be there.
func createFile(file string, data []byte) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errSpecThere(file)
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

// lookAtCluster connects and looks.
func lookAtCluster(ctx context.Context, pool *sshhost.Pool, h cluster.Host) (initspec.Found, remote.Host, error) {
	host, err := pool.Host(ctx, h)
	if err != nil {
		return initspec.Found{}, nil, err
	}
	c := &liveCluster{host: host, waits: func(what string) func() { return pool.Waits(h, what) }}
	defer c.close()
	found, err := initspec.Look(ctx, host, c)
	return found, host, err
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

// printInit tells a person what was found and what comes next.
func printInit(w io.Writer, r initResult) error {
	f := r.Found
	show.Fprintf(w, "%s is the control-plane node of a kubeadm cluster with Kubernetes %s.\n\n", f.First.Name, f.KubernetesVersion)
	show.Fprintf(w, "  API server  %s, control-plane endpoint: %s\n", net.JoinHostPort(f.First.Address, f.APIPort), or(f.ControlPlaneEndpoint, "none"))
	show.Fprintf(w, "  etcd        %s, one member (%s), %.1f MB, peer URL %s\n", f.Etcd.Version, f.Etcd.Name, float64(f.Etcd.Bytes)/1e6, strings.Join(f.Etcd.PeerURLs, ","))
	show.Fprintf(w, "  networks    services %s, pods %s\n", or(f.ServiceSubnet, "unknown"), or(f.PodSubnet, "unknown"))
	for _, n := range append([]initspec.Node{f.First}, f.Workers...) {
		show.Fprintf(w, "  node        %s %s, %s, %s\n", n.Name, or(n.Address, "without InternalIP"), n.Version, readiness(n.Ready))
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

// or returns v, or fallback where v is empty.
func or(v, fallback string) string {
	if v == "" {
		return fallback
	}
	return v
}
