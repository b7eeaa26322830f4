package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"google.golang.org/grpc/test/bufconn"
	"k8s.io/apimachinery/pkg/runtime"
	"mvdan.cc/sh/v3/interp"

	"hamigrate/migrate/cluster"
	"hamigrate/migrate/remote/remotetest"
)

// What the world is made of, as data; what moves it is in the file of its name.

// staticPod is one file of the manifests folder as the kubelet runs it.
type staticPod struct {
	text    string // of the manifest that runs, or is about to
	proc    *process
	startAt time.Time // when it will be started
	endAt   time.Time // when it will be stopped; zero: not to be
	ready   time.Time
	told    time.Time // when an API server was told to stop; zero: it was not
	lost    time.Time // when an API server has lost its etcd; zero: it has one

	serving *tls.Certificate // an API server's, in memory
	pair    string           // the files as last seen
	reload  time.Time
}

// kubeletState is what a running kubelet has in memory.
type kubeletState struct {
	started  time.Time
	server   string // from its kubeconfig, read once
	peer     string // the server's address as it was when it connected
	lastSeen time.Time
}

// etcdCluster is one raft group: its members agree at every instant.
type etcdCluster struct {
	id       uint64
	members  []*member
	nextID   uint64
	leader   uint64 // 0 while there is an election
	votingAt time.Time
	index    uint64 // raft's
	revision int64  // of the keys
	alarm    string // name of one that a member has raised
	keys     map[string]key
	leases   map[int64]time.Duration
	restored bool // from a snapshot
}

// key is a value of the store; zero until means for ever.
type key struct {
	value string
	lease int64
	until time.Time
}

// member is an entry of the member list.
type member struct {
	id                   uint64
	name                 string // "" until it has started
	peerURLs, clientURLs []string
	learner              bool
}

// bootedServer is a running etcd: a process with its member.
type bootedServer struct {
	host     *Host
	proc     *process
	flags    map[string]string
	cluster  *etcdCluster
	member   uint64
	since    time.Time // its peers see it since then
	removed  time.Time // when it will have noticed
	catching time.Time // behind the leader until then
}

func (c *etcdCluster) find(id uint64) *member {
	i := slices.IndexFunc(c.members, func(m *member) bool { return m.id == id })
	if i < 0 {
		return nil
	}
	return c.members[i]
}

func (c *etcdCluster) voters() []*member {
	return slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return m.learner })
}

// wrote is a write that the quorum has.
func (c *etcdCluster) wrote(key bool) {
	c.index++
	if key {
		c.revision++
	}
}

// unit is a unit as systemd has it in memory.
type unit struct {
	text    string // as loaded: a file that changes needs daemon-reload
	state   string // inactive, active, activating
	started time.Time
	retryAt time.Time // of Restart=always
	fireAt  time.Time // of a timer
	script  string    // that the timer runs
	proc    *process
	listens []string  // of a transient service that only takes connections
	until   time.Time // when that one ends
}

// nginxState is what a running nginx has in memory.
type nginxState struct {
	loaded  string           // the text it runs with, all files in one
	streams map[int][]string // listening port to backends, in order
	http    []int            // other listening ports
	workers time.Time        // when the youngest was started
	most    int              // worker_connections, of the one worker that is played
}

// natTable is a table of nft: what new connections to an address become.
type natTable struct {
	text  string
	rules map[string]string // host:port to host:port
}

// flow is a connection to the kubernetes Service that an API server has reset,
// and that the kernel of a host still knows: whoever uses its port again is
// sent to the same address. For ever, since no test may depend on 10 s.
type conntrackEntry struct{ answeredBy string } // host:port

// openSocket is a connection that the operator's program has opened from a
// machine, as `ss` there and on a load balancer's machine shows it.
type openSocket struct {
	from, by    *Host // by is the load balancer's machine, nil where none is seen to carry it
	local, peer string
	translated  string // what the load balancer's machine sees for local
}

// object is any object of the API.
type object interface {
	metav1.Object
	runtime.Object
}

type objectKey struct{ resource, namespace, name string }

func (k objectKey) String() string {
	return k.resource + " " + strings.Trim(k.namespace+"/"+k.name, "/")
}

// objects are what the API servers keep in etcd.
type objects struct {
	items map[objectKey]object
	uids  int
}

type folder struct {
	mode  fs.FileMode
	owner string
}

// process is a running program.
type process struct {
	pid     int
	name    string // as in /proc/PID/comm
	exe     string
	argv    []string
	flags   map[string]string // of argv
	started time.Time
}

var errRefused = errors.New("connection refused")

// kind is what listens at the end of a route.
type kind int

const (
	apiServer kind = iota
	etcdClient
	etcdPeer
	website
	transient
)

// route is where a connection ends.
type route struct {
	kind    kind
	host    *Host
	port    string
	pod     *staticPod    // of an API server's route
	boot    *bootedServer // of an etcd route
	relayed bool
	// balanced: a load balancer chose it, and by is its machine, nil for
	// somebody else's.
	balanced bool
	by       *Host
}

// end is one listener of one host.
type end struct {
	kind kind
	host string
	port string // of an API server
}

// listener knows its connections: they end with the process.
type listener struct {
	*bufconn.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// session is one run of the shell.
type session struct {
	host    *Host
	umask   fs.FileMode
	look    bool   // it may change nothing
	waits   bool   // it says that it runs programs of others
	script  string // of the command, for what is told of it
	private bool   // its mounts are seen by nobody else
}

// program is one run of a program by the shell.
type program struct {
	*session
	interp.HandlerContext
	ctx  context.Context
	args []string // without the program's name
}

// parts are what a World is assembled from. The lower ones call the higher ones
// through them: the network knows no API server, and the shell no program.
type parts struct {
	due      func(now time.Time)                                 // does all that is due
	routes   []func(at *Host, ip string, port int) (route, bool) // who listens there
	balancer func() (route, error)                               // where the external load balancer leads
	service  func() string                                       // where the kubernetes Service leads
	serve    func(*listener, route)                              // starts the server of a new listener
	shell    func(*Host) remotetest.Handler
	program  func(h *Host, name string) func(program) error // nil: not installed
}

// World is the cluster with its machines. Make it inside a synctest bubble
// and Close it before the bubble ends.
type World struct {
	// Spec is what the operator wrote.
	Spec cluster.Spec
	// Faults counts every change that the operator's program makes.
	Faults *remotetest.Faults
	// Watch is told of every instant at which the operator's program may die:
	// before and after each of its operations, and between the parts of a
	// command that has parts. Nil: nobody is told.
	Watch func(Point)

	// OnlyLook: the operator's logins may only look.
	OnlyLook bool

	memo   *memo
	parts  parts
	hosts  map[string]*Host // fixed once the world is built
	sorted []*Host

	mu         sync.Mutex // guards what follows, and the hosts
	ctx        context.Context
	clusters   []*etcdCluster
	objects    *objects
	shared     map[string]string // what all API servers must have the same of
	listeners  map[end]*listener
	held       map[string]int // open connections through load balancers, by the host they lead to
	ports      int            // of connections that were opened
	open       map[*openSocket]bool
	closers    []func()
	pids       int
	tokenCount int
	broken     []string
	forbidden  []string           // to bootstrap tokens, see Forbid
	cuts       map[[2]string]bool // pairs of machines with nothing between
	silent     map[[2]string]bool // see Silence
	backends   []string           // of the external load balancer; nil: there is none
	balancer   string             // its address
	turn       int                // how many connections it has passed on
	ill        func(flags map[string]string) bool
	illAtStart bool

	signAt, proxyAt, coreDNSAt time.Time
	rollOuts                   []string
	proxyServer                string   // what the running kube-proxies use
	proxied                    []string // where they send the Service's connections
	followAt                   time.Time

	settled time.Time // when settle last worked
	dirty   bool      // something has changed since
	watched time.Time // until when Outages are counted
	outages map[string]time.Duration
}

// Host is one machine: files in memory, a shell over them, and the programs
// that run there.
type Host struct {
	*remotetest.Fake
	world   *World
	address string

	// What follows, and every change of files that is not an operation, is
	// guarded by world.mu.

	folders   map[string]folder // those that are not root:root 0755
	users     map[string]bool
	units     map[string]*unit
	procs     map[int]*process
	pods      map[string]*staticPod // by the manifest's file name
	nginx     nginxState
	haproxy   haproxyState
	kubelet   kubeletState
	journal   []string // what etcd.service said
	clients   int      // connections that `ss` counts at the API server's port
	boots     map[string]*bootedServer
	mtimes    map[string]time.Time
	nat       map[string]natTable // nft's tables, by name
	conntrack []conntrackEntry    // reset ones that the kernel still knows
	hardware  Hardware
}

// Hardware is what a machine is made of, as far as somebody asks for it.
type Hardware struct {
	Skew      time.Duration  // how far its clock is ahead
	Free      map[string]int // KiB, by folder
	Sync      time.Duration  // that a synced write takes
	Stalls    int            // how many synced writes take a second first
	Inotify   int            // instances in use
	Addresses []string       // besides its own
	Outside   []string       // addresses that a translation on the way leads to it, and that it does not have
	Behind    string         // what others see as its address, and as its ports: a translation
	No80      bool           // port 80 can't be had: somebody else has it, or its IPv6 half is missing
	Forbidden []int          // ports that SELinux does not let nginx listen on
	Units     time.Duration  // that systemctl takes to list units
	Sockets   time.Duration  // that ss takes for the connections of a port
	Missing   []string       // programs that are not installed
	Hangs     []string       // folders of a network whose server is away: `find` waits there for a minute

	own string // its own, where that is not what the others know
}

func newHardware() Hardware {
	return Hardware{Free: map[string]int{"/var/lib": 20 << 20, "/etc": 20 << 20}, Sync: 800 * time.Microsecond, Inotify: 20}
}

func (h Hardware) clone() Hardware {
	h.Free, h.Addresses, h.Forbidden = maps.Clone(h.Free), slices.Clone(h.Addresses), slices.Clone(h.Forbidden)
	h.Outside = slices.Clone(h.Outside)
	h.Missing, h.Hangs = slices.Clone(h.Missing), slices.Clone(h.Hangs)
	return h
}
