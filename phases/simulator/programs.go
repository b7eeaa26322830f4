package simulator

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

// options splits arguments into flags and the rest; withValue lists the flags
// whose value is the next word.
func (p program) options(withValue ...string) (flags map[string]string, rest []string) {
	flags = map[string]string{}
	for i := 0; i < len(p.args); i++ {
		a := p.args[i]
		if a == "--" {
			return flags, append(rest, p.args[i+1:]...)
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			rest = append(rest, a)
			continue
		}
		value := ""
		for _, f := range withValue {
			if a == f && i+1 < len(p.args) {
				value = p.args[i+1]
				i++
			}
		}
		flags[a] = value
	}
	return flags, rest
}

func setUmask(p program) error {
	mask, err := strconv.ParseUint(p.args[0], 8, 32)
	p.session.umask = fs.FileMode(mask)
	return err
}

func which(p program) error {
	for _, name := range p.args {
		if p.host.world.parts.program(p.host, name) == nil && !p.host.has(packaged[name]) {
			return interp.ExitStatus(1)
		}
		p.out("/usr/bin/%s\n", name)
	}
	return nil
}

func sleep(p program) error {
	d, err := time.ParseDuration(p.args[0] + "s")
	p.sleep(d)
	return err
}

// ip plays `ip -o addr show to ADDRESS`, and the list of all.
func ip(p program) error {
	if args := strings.Join(p.args, " "); args == "-o -4 addr show scope global" || args == "-o addr show scope global" {
		return addressList(p)
	}
	address, ok := strings.CutPrefix(strings.Join(p.args, " "), "-o addr show to ")
	switch {
	case !ok:
		return fmt.Errorf("%q is not played", p.args)
	case address == p.host.address:
		p.out("2: host0    inet %s/24 brd 10.88.0.255 scope global host0\\       valid_lft forever preferred_lft forever\n", address)
	case address == "127.0.0.1":
		p.out("1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n")
	}
	return nil
}

// getent looks up addresses and groups.
func getent(p program) error {
	switch p.args[0] {
	case "group":
		if !p.host.users[p.args[1]] {
			return interp.ExitStatus(2)
		}
	case "ahostsv4", "ahosts":
		address := p.host.resolve(p.args[1])
		if address == "" {
			return interp.ExitStatus(2)
		}
		p.out("%-15s STREAM %s\n%-15s DGRAM  \n%-15s RAW    \n", address, p.args[1], address, address)
	}
	return nil
}

// installPackages plays apt-get and dnf: they know nginx and HAProxy.
func installPackages(p program) error {
	flags, rest := p.options("-o")
	if rest[0] != "install" {
		return fmt.Errorf("unknown operation %s", rest[0])
	}
	if _, simulated := flags["-s"]; simulated {
		for _, name := range rest[1:] {
			installed := ""
			if name == "nginx" && p.host.has("/usr/sbin/nginx") {
				installed = " [1.22.1-8]" // there is a newer one
			}
			p.out("Inst %s%s (1.22.1-9 Debian:12 [amd64])\n", name, installed)
		}
		return nil
	}
	p.sleep(10 * time.Second)
	for _, name := range rest[1:] {
		switch name {
		case "nginx":
			if err := installNginx(p.host); err != nil {
				return err
			}
		case "haproxy":
			installHAProxy(p.host)
		case "socat":
			p.host.put("/usr/bin/socat", "\x7fELF", 0o755, "root:root")
		case "libnginx-mod-stream":
			installNginxStream(p.host)
		default:
			return fmt.Errorf("E: Unable to locate package %s", name)
		}
	}
	return nil
}

func journalctl(p program) error {
	from := max(0, len(p.host.journal)-3)
	for _, line := range p.host.journal[from:] {
		p.out("%s\n", line)
	}
	return nil
}

func etcdVersion(p program) error {
	data := p.host.read("/usr/local/bin/etcd")
	if !strings.HasPrefix(data, etcdProgram) {
		return errors.New("cannot execute binary file: Exec format error")
	}
	p.out("etcd Version: %s\nGit SHA: 0000000\nGo Version: go1.24\nGo OS/Arch: linux/amd64\n", strings.TrimSpace(strings.TrimPrefix(data, etcdProgram)))
	return nil
}

// etcdProgram is how the file of a working etcd begins; its version follows.
const etcdProgram = "\x7fELF etcd "

// packaged programs are there when their file is.
var packaged = map[string]string{
	"nginx": "/usr/sbin/nginx", "haproxy": "/usr/sbin/haproxy", "socat": "/usr/bin/socat", "nft": "/usr/sbin/nft", "conntrack": "/usr/sbin/conntrack", "curl": "/usr/bin/curl",
	"apt-get": "/usr/bin/apt-get", "dnf": "/usr/bin/dnf",
	"kubeadm": "/usr/bin/kubeadm", "kubelet": "/usr/bin/kubelet", "etcd": "/usr/local/bin/etcd",
}
