package playground

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
)

//go:embed files
var files embed.FS

// sudoUID is the sudo user's and group's number, Debian's first for people.
const sudoUID = 1000

// templateData is what the files of a host are rendered with.
type templateData struct {
	Host    templateHost
	Gateway netip.Addr
	Routes  []templateHost // the other hosts that have pods
	Pause   string
	Second  netip.Addr // an address more, where there is one
}

type templateHost struct {
	Name      string
	Address   netip.Addr
	PodSubnet netip.Prefix
}

func forTemplate(h Host) templateHost {
	return templateHost{Name: h.Name, Address: h.Address, PodSubnet: h.podSubnet()}
}

// hostFile is one file of a host, written before it boots.
type hostFile struct {
	path string
	data string
	mode fs.FileMode
	link bool // data is a symlink's target
	dir  bool
}

// writeHost fills a host's upper folder and /var: after it, the host can be
// booted.
func (p *Playground) writeHost(ctx context.Context, h Host, pause string) error {
	// Nobody but root looks into the hosts' disks from here.
	if err := os.MkdirAll(filepath.Dir(p.hostDir(h)), 0o700); err != nil {
		return err
	}
	for _, dir := range []string{rootDir, upperDir, workDir} {
		if err := os.MkdirAll(p.hostFile(h, dir), 0o755); err != nil {
			return err
		}
	}
	if _, err := run(ctx, "cp", "-a", filepath.Join(p.base(h), "var"), p.hostFile(h, varDir)); err != nil {
		return err
	}
	list, err := p.hostFiles(h, pause)
	if err != nil {
		return err
	}
	for _, f := range list {
		if err := p.writeHostFile(h, f); err != nil {
			return fmt.Errorf("writing %s of %s: %w", f.path, h.Name, err)
		}
	}
	if p.state.SudoUser != "" {
		if err := p.addSudoUser(h); err != nil {
			return err
		}
	}
	return p.makeHostKeys(ctx, h)
}

// makeHostKeys makes the keys of a host's sshd, of the kinds that cost no
// time (an RSA key costs half a second a host).
func (p *Playground) makeHostKeys(ctx context.Context, h Host) error {
	for _, kind := range []string{"ed25519", "ecdsa"} {
		path := "/etc/ssh/ssh_host_" + kind + "_key"
		if err := p.makeParents(h, path); err != nil {
			return err
		}
		if _, err := run(ctx, "ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "root@"+h.Name, "-f", p.rootFile(h, path)); err != nil {
			return err
		}
	}
	return nil
}

func (p *Playground) writeHostFile(h Host, f hostFile) error {
	path := p.rootFile(h, f.path)
	if err := p.makeParents(h, f.path); err != nil {
		return err
	}
	if f.link {
		return os.Symlink(f.data, path)
	}
	mode := f.mode
	if f.dir {
		return os.Mkdir(path, mode)
	}
	if mode == 0 {
		mode = 0o644
	}
	return os.WriteFile(path, []byte(f.data), mode)
}

// makeParents makes the folders above a host's file. One that the base has
// too gets the base's mode: in an overlay the upper folder's counts.
func (p *Playground) makeParents(h Host, path string) error {
	dir := filepath.Dir(path)
	if dir == "/" {
		return nil
	}
	if err := p.makeParents(h, dir); err != nil {
		return err
	}
	mode := fs.FileMode(0o755)
	if info, err := os.Stat(filepath.Join(p.base(h), dir)); err == nil {
		mode = info.Mode().Perm()
	}
	target := p.rootFile(h, dir)
	if dir == "/var" {
		target = p.hostFile(h, varDir)
	}
	if exists(target) {
		return nil
	}
	if err := os.Mkdir(target, mode); err != nil {
		return err
	}
	return os.Chmod(target, mode)
}

// hostFiles lists what makes a host the one it is.
func (p *Playground) hostFiles(h Host, pause string) ([]hostFile, error) {
	data := templateData{Host: forTemplate(h), Gateway: slotAddress(p.state.Slot, lastGateway), Pause: pause}
	for _, other := range p.hosts {
		if other.kubernetes() && other.Name != h.Name {
			data.Routes = append(data.Routes, forTemplate(other))
		}
	}
	if p.state.veteran() && h.kubernetes() {
		data.Second = h.second()
	}
	list, err := p.commonFiles(h, data)
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	switch {
	case h.Role == RoleLoadBalancer:
		list = append(list, wants("nginx.service"),
			hostFile{path: "/etc/nginx/sites-enabled/default", data: "/etc/nginx/sites-available/intranet", link: true})
		own = balancerTemplates()
	case h.kubernetes():
		list = append(list, wants("containerd.service"), wants("kubelet.service"),
			hostFile{path: "/etc/systemd/system/sysinit.target.wants/playground-node.service", data: "/etc/systemd/system/playground-node.service", link: true},
			hostFile{path: "/etc/sysctl.d/99-kubernetes.conf", data: "net.ipv4.ip_forward = 1\n"},
			// A patch that differs from node to node, as on real clusters.
			hostFile{path: "/etc/kubernetes/patches/kubeletconfiguration+merge.yaml", data: "providerID: playground://" + p.state.Name + "/" + h.Name + "\n"})
		own = nodeTemplates()
	}
	if p.state.veteran() {
		list = append(list, veteranFiles(h)...)
		maps.Copy(own, veteranTemplates(h))
	}
	for path, name := range own {
		text, err := render(name, data)
		if err != nil {
			return nil, err
		}
		list = append(list, hostFile{path: path, data: text})
	}
	return list, nil
}

// commonFiles are those of every host.
func (p *Playground) commonFiles(h Host, data templateData) ([]hostFile, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	network, err := render("host.network", data)
	if err != nil {
		return nil, err
	}
	list := []hostFile{
		{path: "/etc/hostname", data: h.Name + "\n"},
		{path: "/etc/hosts", data: etcHosts(p.hosts) + p.endpointLine()},
		// Without it systemd would run "preset all" at boot and start every
		// packaged service.
		{path: "/etc/machine-id", data: hex.EncodeToString(id) + "\n", mode: 0o444},
		// Nobody listens there, so lookups fail at once; CoreDNS wants to
		// find some server in the file.
		{path: "/etc/resolv.conf", data: "nameserver " + data.Gateway.String() + "\n"},
		{path: "/etc/systemd/network/10-host0.network", data: network},
		wants("systemd-networkd.service"),
	}
	for _, unit := range []string{
		"systemd-networkd-wait-online.service", "getty@tty1.service", "console-getty.service",
		"cni-dhcp.service", "cni-dhcp.socket",
	} {
		list = append(list, hostFile{path: "/etc/systemd/system/" + unit, data: "/dev/null", link: true})
	}
	return list, nil
}

func balancerTemplates() map[string]string {
	return map[string]string{
		"/etc/nginx/sites-available/intranet": "site.nginx",
		"/var/www/intranet/index.html":        "index.html",
	}
}

// nodeTemplates has the kubelet's unit files where and as the upstream
// packages put them.
func nodeTemplates() map[string]string {
	return map[string]string{
		"/etc/containerd/config.toml":                               "containerd.toml",
		"/etc/cni/net.d/10-pods.conflist":                           "pods.conflist",
		"/etc/systemd/system/playground-node.service":               "playground-node.service",
		"/usr/local/lib/playground-node":                            "playground-node",
		"/usr/lib/systemd/system/kubelet.service":                   "kubelet.service",
		"/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": "10-kubeadm.conf",
	}
}

func wants(unit string) hostFile {
	return hostFile{path: "/etc/systemd/system/multi-user.target.wants/" + unit, data: "/lib/systemd/system/" + unit, link: true}
}

func etcHosts(hosts []Host) string {
	var s strings.Builder
	s.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	for _, h := range hosts {
		fmt.Fprintf(&s, "%s\t%s\n", h.Address, h.Name)
	}
	return s.String()
}

// render fills in one of the embedded templates.
func render(name string, data any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(files, "files/"+name)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return "", err
	}
	return out.String(), nil
}

// authorize puts the operator's public key where the host's sshd looks for
// it, and closes root's door when there is a sudo user.
func (p *Playground) authorize(h Host, publicKey string) error {
	home, owner := "/root", 0
	if user := p.state.SudoUser; user != "" {
		home, owner = "/home/"+user, sudoUID
		err := p.writeHostFile(h, hostFile{path: "/etc/ssh/sshd_config.d/no-root.conf", data: "PermitRootLogin no\n"})
		if err != nil {
			return err
		}
	}
	path := home + "/.ssh/authorized_keys"
	if err := p.writeHostFile(h, hostFile{path: path, data: publicKey, mode: 0o600}); err != nil {
		return err
	}
	if err := os.Chmod(p.rootFile(h, home), 0o700); err != nil {
		return err
	}
	for _, f := range []string{home, home + "/.ssh", path} {
		if err := os.Chown(p.rootFile(h, f), owner, owner); err != nil {
			return err
		}
	}
	return os.Chmod(p.rootFile(h, home+"/.ssh"), 0o700)
}

// addSudoUser adds the user to the host's account files. Its password is "*":
// none fits, and unlike "!" it does not lock the account.
func (p *Playground) addSudoUser(h Host) error {
	user := p.state.SudoUser
	for file, line := range map[string]string{
		"/etc/passwd":  fmt.Sprintf("%s:x:%d:%d::/home/%s:/bin/bash\n", user, sudoUID, sudoUID, user),
		"/etc/group":   fmt.Sprintf("%s:x:%d:\n", user, sudoUID),
		"/etc/shadow":  fmt.Sprintf("%s:*:20000:0:99999:7:::\n", user),
		"/etc/gshadow": fmt.Sprintf("%s:*::\n", user),
	} {
		original := filepath.Join(p.base(h), file)
		data, err := os.ReadFile(original)
		if err != nil {
			return err
		}
		info, err := os.Stat(original)
		if err != nil {
			return err
		}
		if err := p.writeHostFile(h, hostFile{path: file, data: string(data) + line, mode: info.Mode().Perm()}); err != nil {
			return err
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := os.Chown(p.rootFile(h, file), int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
	}
	return p.writeHostFile(h, hostFile{
		path: "/etc/sudoers.d/" + user, data: user + " ALL=(ALL) NOPASSWD: ALL\n", mode: 0o440,
	})
}
