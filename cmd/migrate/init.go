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
	"strconv"
	"strings"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/initspec"
	"hamigrate/migrate/inventory"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/sshhost"

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
			"An inventory of Ansible's fills in more; without HOST its first kube_control_plane host is\n" +
			"looked at. A file that is there is never overwritten. Flags stand before HOST.\n\n" + exitStatus,
		Flags: append(initFlags(), outputFlag("text", "json"),
			&cli.StringFlag{Name: "inventory", Aliases: []string{"i"}, Usage: "an Ansible inventory `FILE`, INI or YAML"}),
		Action: initAction,
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
	file := or(common(c, flagFile), "migrate.yaml")
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return errSpecThere(file)
	}
	log, err := logger(c)
	if err != nil {
		return err
	}
	var groups *initspec.Groups
	if name := c.String("inventory"); name != "" {
		inv, err := inventory.Read(name)
		if err != nil {
			return err
		}
		groups = groupsOf(inv)
	}
	host, jump, err := initHost(c, groups)
	if err != nil {
		return err
	}
	options := sshOptions(c, log)
	options.Jump = jump
	pool := sshhost.NewPool(options)
	defer pool.Close()
	found, err := lookAtCluster(c.Context, pool, host)
	if err != nil {
		return err
	}
	reached := initspec.SSH{User: host.SSH.User, Port: host.SSH.Port, IdentityFile: host.SSH.IdentityFile, Address: host.Address}
	choice := initspec.Blank(found, reached)
	if groups != nil {
		choice = initspec.FromInventory(found, *groups)
	}
	return writeSpec(c, file, found, choice)
}

// writeSpec writes the file, unless one is there by now, and tells.
func writeSpec(c *cli.Context, file string, found initspec.Found, choice initspec.Choice) error {
	data, err := initspec.Render(found, choice)
	if err != nil {
		return err
	}
	blanks, err := initspec.Blanks(file, data)
	if err != nil {
		return fmt.Errorf("what was found makes no spec, and nothing was written: %w", err)
	}
	if err := createFile(file, data); err != nil {
		return err
	}
	r := initResult{File: file, Found: found, Blanks: blanks, Next: nextAfterInit(file, blanks, choice.Jumps),
		Jumps: append([]initspec.Jump{}, choice.Jumps...), Notes: append([]string{}, choice.Notes...)}
	if c.String("output") == "json" {
		return writeReport(c.App.Writer, r)
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

// initHost is the host to look at: the one that is named, else the
// inventory's; and the way to it where only the inventory knows it.
func initHost(c *cli.Context, groups *initspec.Groups) (_ cluster.Host, jump string, _ error) {
	if c.Args().Len() > 1 {
		return cluster.Host{}, "", fmt.Errorf("`migrate init` takes one host, and there is %q behind it: flags stand before the host, as in `migrate init --file FILE root@HOST`", c.Args().Get(1))
	}
	word := c.Args().First()
	if word == "" && groups == nil {
		return cluster.Host{}, "", errors.New("`migrate init` needs the control-plane node of your cluster, as ssh reaches it: migrate init root@HOST (or --inventory FILE, which names it)")
	}
	if word == "" {
		m := groups.ControlPlane[0]
		return cluster.Host{Name: m.Name, Address: m.SSHAddress,
			SSH: cluster.SSH{Address: m.SSHAddress, User: m.User, Port: m.Port, IdentityFile: m.IdentityFile}}, m.ProxyJump, nil
	}
	h, err := parseHost(word)
	if err != nil || groups == nil {
		return h, "", err
	}
	for _, m := range groups.ControlPlane {
		if h.Name == m.Name || h.Address == m.SSHAddress || h.Address == m.Address {
			return h, m.ProxyJump, nil
		}
	}
	return h, "", nil
}

// parseHost reads [USER@]HOST[:PORT].
func parseHost(word string) (cluster.Host, error) {
	bad := fmt.Errorf("%q is not [USER@]HOST[:PORT], such as root@cp1", word)
	user, place := "", word
	if at := strings.LastIndex(word, "@"); at >= 0 {
		if user, place = word[:at], word[at+1:]; user == "" {
			return cluster.Host{}, bad
		}
	}
	port := 0
	if h, p, err := net.SplitHostPort(place); err == nil {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return cluster.Host{}, bad
		}
		place = h
	}
	place = strings.Trim(place, "[]")
	if place == "" || strings.HasPrefix(place, "-") || strings.ContainsAny(place+user, " \t/\"'") {
		return cluster.Host{}, bad
	}
	return cluster.Host{Name: place, Address: place, SSH: cluster.SSH{Address: place, User: user, Port: port}}, nil
}

// groupsOf hands an inventory to the maker of specs, which knows no Ansible.
func groupsOf(inv inventory.Inventory) *initspec.Groups {
	members := func(hosts []inventory.Host) (out []initspec.Member) {
		for _, h := range hosts {
			out = append(out, initspec.Member(h))
		}
		return out
	}
	return &initspec.Groups{File: inv.File, ControlPlane: members(inv.ControlPlane), Etcd: members(inv.Etcd),
		Workers: members(inv.Workers), LoadBalancers: members(inv.LoadBalancers), Endpoint: inv.Endpoint, Notes: inv.Notes}
}

// lookAtCluster connects and looks.
func lookAtCluster(ctx context.Context, pool *sshhost.Pool, h cluster.Host) (initspec.Found, error) {
	host, err := pool.Host(ctx, h)
	if err != nil {
		return initspec.Found{}, err
	}
	c := &liveCluster{host: host}
	defer c.close()
	return initspec.Look(ctx, host, c)
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
	fmt.Fprintf(w, "%s is the control-plane node of a kubeadm cluster with Kubernetes %s.\n\n", f.First.Name, f.KubernetesVersion)
	fmt.Fprintf(w, "  API server  %s, control-plane endpoint: %s\n", net.JoinHostPort(f.First.Address, f.APIPort), or(f.ControlPlaneEndpoint, "none"))
	fmt.Fprintf(w, "  etcd        %s, one member (%s), %.1f MB, peer URL %s\n", f.Etcd.Version, f.Etcd.Name, float64(f.Etcd.Bytes)/1e6, strings.Join(f.Etcd.PeerURLs, ","))
	fmt.Fprintf(w, "  networks    services %s, pods %s\n", or(f.ServiceSubnet, "unknown"), or(f.PodSubnet, "unknown"))
	for _, n := range append([]initspec.Node{f.First}, f.Workers...) {
		fmt.Fprintf(w, "  node        %s %s, %s, %s\n", n.Name, or(n.Address, "without InternalIP"), n.Version, readiness(n.Ready))
	}
	if notes := append(slices.Clone(f.Notes), r.Notes...); len(notes) > 0 {
		fmt.Fprintln(w, "\nMind:")
		for _, n := range notes {
			fmt.Fprintf(w, "  - %s\n", n)
		}
	}
	fmt.Fprintf(w, "\nWritten: %s. ", r.File)
	if len(r.Blanks) == 0 {
		fmt.Fprintln(w, "It has no blanks; read it all the same.")
	} else {
		fmt.Fprintf(w, "%d blanks in it are yours to fill in:\n", len(r.Blanks))
	}
	for _, b := range r.Blanks {
		fmt.Fprintf(w, "  line %-3d %s\n", b.Line, b.Field)
	}
	if len(r.Jumps) > 0 {
		fmt.Fprintf(w, "\nFor ~/.ssh/config:\n%s\n", initspec.JumpConfig(r.Jumps))
	}
	fmt.Fprintln(w, "\nNext:")
	for i, n := range r.Next {
		fmt.Fprintf(w, "  %d. %s\n", i+1, n)
	}
	_, err := fmt.Fprintln(w, "Nothing was changed on the cluster.")
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
