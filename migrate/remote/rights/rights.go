// Package rights says what looking at a host needs of root's rights, and makes
// two things of that one declaration: the sudoers file that allows it and no
// more, and the lines of shell by which a look uses it.
//
// A login that may only look has its commands run by setpriv(1) as the user
// itself, with one capability of root's, CAP_DAC_READ_SEARCH: it may read every
// file and list every folder. The kernel then keeps such a process from
// changing what is root's, whatever the script says: it has no uid of root's
// for D-Bus, no right to write to a runtime's socket, and no signal of it
// reaches another user's process. CAP_SYS_PTRACE, by which /proc/PID/exe of
// root's processes can be read, is not given: it also writes into their memory.
//
// What a look needs beyond that is asked of root program by program, with the
// arguments that are listed here (Commands). no_new_privs is not set, or sudo
// could not be called from within; that gives nothing away, since sudo asks the
// same file for the same user, inside and outside.
package rights

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a host is to the cluster. A host may have several.
type Role uint8

// The roles.
const (
	First        Role = 1 << iota // the first control-plane node
	Joining                       // a joining control-plane node
	EtcdHost                      // a host of a member
	LoadBalancer                  // a host of a load balancer of ours
	Worker

	planes = First | Joining
	nodes  = planes | Worker
	every  = nodes | EtcdHost | LoadBalancer
)

// Command is one program that looks have to ask of root.
type Command struct {
	Program string
	// Paths are where distributions have it. sudo takes two names of one file
	// for the same, so /bin is not listed beside /usr/bin unless a distribution
	// without merged folders has the program there alone.
	Paths []string
	// Arguments are lists of arguments, as sudo and the shell compare them:
	// joined with blanks. The words below stand for what is not fixed.
	Arguments []string
	On        Role
	Why       string
}

// Words in Arguments that stand for what is not fixed. A number is spelled in
// sudoers with one class for each digit: sudoers' * matches blanks as well, and
// with it further arguments. anyPID and anything are patterns with a *, for
// programs that can do nothing but read, whatever they are told.
const (
	pid      = "<PID>"
	port     = "<PORT>"
	anyPID   = "<ANY-PID>"
	anything = "<ANYTHING>"

	pidDigits, portDigits = 7, 5
)

// Instances is how a script finds what takes the kernel's inotify instances:
// fixed arguments, that sudoers can hold. It does not go into the folders of
// which a busy host has very many entries.
const Instances = `find /proc -maxdepth 3 \( -name map_files -o -name task -o -name net \) -prune -o -lname anon_inode:inotify -print`

// StatFormat is how a script asks for the identity of a program's file.
const StatFormat = "%d %i %s %y %z %Z"

// sockets are those of the container runtimes that kubeadm knows.
var sockets = []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock"}

// Commands lists what looks ask of root, on the hosts that have one of the
// roles.
func Commands(on Role) []Command {
	usual := func(name string) []string { return []string{"/usr/bin/" + name} }
	older := func(name string) []string { return []string{"/usr/bin/" + name, "/bin/" + name} }
	system := func(name string) []string { return []string{"/usr/sbin/" + name, "/sbin/" + name} }
	ss := []string{"/usr/bin/ss", "/usr/sbin/ss", "/bin/ss"}
	all := []Command{
		{"find", usual("find"), []string{strings.ReplaceAll(strings.TrimPrefix(Instances, "find "), `\`, "")}, every,
			"counting inotify instances: /proc/PID/fd is shown to the process's own user alone"},
		{"readlink", older("readlink"), []string{"/proc/" + anyPID + "/exe"}, every,
			"which program a process runs; readlink can only read, so the pattern may match anything"},
		{"cat", older("cat"), []string{"/proc/" + pid + "/environ"}, every,
			"the variables of etcd and of the kubelet"},
		{"stat", usual("stat"), []string{"-L -c " + StatFormat + " /proc/" + anyPID + "/root/" + anything}, First,
			"etcd's program inside its container; stat can only read"},
		{"sha256sum", usual("sha256sum"), []string{"/proc/" + pid + "/root/usr/local/bin/etcd", "/proc/" + pid + "/root/usr/local/bin/etcdctl"}, First,
			"the same; one at another place in its image is not told, and the look says so"},
		{"ss", ss, []string{"-Htnp state established"}, nodes,
			"which program has a connection (-p)"},
		{"ss", ss, []string{"-Hltnp ( sport = :" + port + " )"}, LoadBalancer,
			"which program listens on a port (-p)"},
		{"ss", ss, []string{"-Htnp state established ( sport = :" + port + " )", "-Htnp state established ( dport = :" + port + " )"}, LoadBalancer | nodes,
			"which program has a connection at a port (-p)"},
		{"nginx", system("nginx"), []string{"-T", "-t"}, LoadBalancer,
			"nginx's configuration as nginx reads it, which opens its logs for writing"},
		{"socat", usual("socat"), []string{"-t5 - UNIX-CONNECT:/run/migrate-haproxy/look.sock"}, LoadBalancer,
			"which API servers HAProxy passes connections to; whatever this socket is told, it changes nothing (level user)"},
		{"semanage", system("semanage"), []string{"port -l"}, LoadBalancer,
			"the ports that SELinux lets nginx listen on"},
		{"nft", system("nft"), []string{"list table ip migrate_overlap", "list table ip migrate_leaving", "-c -f -"}, planes,
			"the rules of the kernel; -c checks rules and applies none"},
		{"iptables", system("iptables"), []string{"-w -t nat -S migrate_overlap", "-w -t nat -S migrate_leaving"}, planes,
			"the same where there is no nft"},
		{"nft", system("nft"), []string{"list table ip kube-proxy"}, nodes,
			"where kube-proxy sends the Service's clients, before a node leaves"},
		// iptables-save, for the same, is not here: a shell's function can't have
		// that name. Rules that can't be read are waited for, and the nodes that
		// are asked are changed by the same phase.
		{"ipvsadm", system("ipvsadm"), []string{"-Ln"}, nodes, "the same, of another mode of kube-proxy"},
	}
	all = append(all, runtimes()...)
	return slices.DeleteFunc(all, func(c Command) bool { return c.On&on == 0 })
}

// runtimes are the questions to a container runtime, whose socket is writable
// for root alone since whoever writes to it is root. They end after five
// seconds: a user can't end what runs as root.
func runtimes() []Command {
	c := Command{Program: "timeout", Paths: []string{"/usr/bin/timeout"}, On: planes,
		Why: "whether the container runtime answers, and which images it has"}
	for _, dir := range []string{"/usr/bin", "/usr/local/bin"} {
		for _, s := range sockets {
			c.Arguments = append(c.Arguments,
				fmt.Sprintf("5 %s/crictl --runtime-endpoint unix://%s version", dir, s),
				fmt.Sprintf("5 %s/crictl --runtime-endpoint unix://%s --image-endpoint unix://%s images", dir, s, s))
		}
		c.Arguments = append(c.Arguments,
			fmt.Sprintf("5 %s/ctr --address %s version", dir, sockets[0]),
			fmt.Sprintf("5 %s/ctr --address %s -n k8s.io images ls -q", dir, sockets[0]))
	}
	return []Command{c}
}

// fixed is how setpriv is told to leave all of root's rights but one. --reuid
// and --regid set real, effective and saved numbers, so there is no way back to
// root's. The group is nobody's: the user's own groups may have more rights,
// that of docker for one.
const fixed = "--regid=65534 --clear-groups --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search --"

// setpriv is util-linux's, 2.31 or newer: on Debian 10, Ubuntu 18.04, RHEL 8.
const setpriv = "/usr/bin/setpriv"

// LookingAs are the words before a command of a user who may only look.
func LookingAs(user string) string {
	return "sudo -n -- " + setpriv + " --reuid=" + user + " " + fixed + " "
}
