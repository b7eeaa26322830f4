package playground

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Defaults of Options.
const (
	DefaultName       = "playground"
	DefaultKubernetes = "1.36.3"
	DefaultDir        = "/var/lib/migrate/playgrounds"
	DefaultCacheDir   = "/var/cache/migrate-playground"
	DefaultWorkers    = 2
)

// Values of Options.EtcdListen.
const (
	// EtcdOnHost is kubeadm's own way: etcd listens on the node's address.
	EtcdOnHost = "host"
	// EtcdOnLocalhost is the shape of old production clusters: etcd listens
	// on 127.0.0.1 only, and its stored peer URL is https://127.0.0.1:2380.
	EtcdOnLocalhost = "localhost"
)

// Values of Options.Profile.
const (
	// ProfileClean is a cluster as kubeadm makes it.
	ProfileClean = "clean"
	// ProfileVeteran is one as years and several engineers leave it: see
	// veteran.go.
	ProfileVeteran = "veteran"
)

// Options say what playground to make. The zero value of a field means its
// default.
type Options struct {
	// Name tells playgrounds on one machine apart: lower-case letters,
	// digits and dashes.
	Name string `json:"name"`
	// Dir is the folder that holds one folder a playground. It must be on a
	// real disk: the hosts' file systems live there.
	Dir string `json:"dir"`
	// CacheDir holds what is kept between playgrounds: the Debian root file
	// system, built binaries and images. Down leaves it.
	CacheDir string `json:"cacheDir"`
	// Kubernetes is a version without "v", one that package build knows.
	// With BinDir it may be empty: the version is that of the binaries.
	Kubernetes string `json:"kubernetes"`
	// BinDir holds ready-made binaries to use instead of building them.
	BinDir string `json:"binDir,omitempty"`
	// Profile is ProfileClean or ProfileVeteran.
	Profile string `json:"profile,omitempty"`
	// EtcdListen is EtcdOnHost or EtcdOnLocalhost; the veteran's default is
	// EtcdOnLocalhost.
	EtcdListen string `json:"etcdListen"`
	// Workers is how many workers the cluster has; -1 means none.
	Workers int `json:"workers"`
	// SudoUser makes hosts refuse root's login and take this user's, who has
	// passwordless sudo. Empty means root logs in.
	SudoUser string `json:"sudoUser,omitempty"`
	// Spare adds one more host, prepared as a worker, not joined and not in
	// the spec file.
	Spare bool `json:"spare,omitempty"`
	// Hardened gives the API server an audit policy and encryption at rest,
	// from files that kubeadm does not carry to other nodes. The veteran has
	// them anyway.
	Hardened bool `json:"hardened,omitempty"`
	// APIServerArgs are given to the API server besides what kubeadm gives it:
	// such as need nothing else to be there.
	APIServerArgs []Argument `json:"apiServerArgs,omitempty"`
	// APIServerMounts are files and folders of the first control-plane node,
	// made there with a line of text in them, that the API server mounts.
	APIServerMounts []Mount `json:"apiServerMounts,omitempty"`
	// Objects is how many ConfigMaps and Secrets, of 7 KB on average, the
	// cluster is filled with: so many that etcd holds what an old production
	// cluster's does.
	Objects int `json:"objects,omitempty"`
}

// Argument is one flag of the API server, --Name=Value.
type Argument struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Mount is one hostPath of the API server's pod, at the same path in it.
type Mount struct {
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	File     bool   `json:"file,omitempty"` // else it is a folder
}

// maxWorkers is how many workers fit between a playground's worker addresses
// and its gateway; more than that is no use on one machine anyway.
const maxWorkers = 32

// maxObjects make a database of 1.4 GB. etcd accepts no more writes at 2 GiB
// (its default --quota-backend-bytes), and needs room to go on.
const maxObjects = 200_000

var (
	namePattern    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	flagPattern    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	valuePattern   = regexp.MustCompile(`^[ -~]*$`)
	versionPattern = regexp.MustCompile(`^1\.[0-9]+\.[0-9]+$`)
	userPattern    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,30}$`)
	// A path goes into mount options, unit files and a shell script.
	pathPattern = regexp.MustCompile(`^/[A-Za-z0-9._/@+-]*$`)
)

// withDefaults fills in defaults and checks every field.
func (o Options) withDefaults() (Options, error) {
	setDefault(&o.Name, DefaultName)
	setDefault(&o.Dir, DefaultDir)
	setDefault(&o.CacheDir, DefaultCacheDir)
	if o.BinDir == "" { // else the version is that of the binaries
		setDefault(&o.Kubernetes, DefaultKubernetes)
	}
	setDefault(&o.Profile, ProfileClean)
	if o.veteran() {
		setDefault(&o.EtcdListen, EtcdOnLocalhost)
		o.Hardened = true
	}
	setDefault(&o.EtcdListen, EtcdOnHost)
	o.Kubernetes = strings.TrimPrefix(o.Kubernetes, "v")
	switch {
	case o.Workers == 0:
		o.Workers = DefaultWorkers
	case o.Workers < 0:
		o.Workers = -1
	}
	for _, dir := range []*string{&o.Dir, &o.CacheDir, &o.BinDir} {
		if *dir == "" {
			continue
		}
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return o, err
		}
		*dir = abs
		if !pathPattern.MatchString(abs) {
			return o, &UserError{
				Problem: fmt.Sprintf("the folder name %q cannot be used in mount options", abs),
				Remedy:  "choose one of letters, digits and . _ / @ + -",
			}
		}
	}
	if err := o.checkAPIServer(); err != nil {
		return o, err
	}
	return o, o.check()
}

// checkAPIServer refuses what cannot be written into kubeadm's configuration
// or into a shell script.
func (o Options) checkAPIServer() error {
	for _, a := range o.APIServerArgs {
		if !flagPattern.MatchString(a.Name) || !valuePattern.MatchString(a.Value) {
			return &UserError{Problem: fmt.Sprintf("--%s=%s cannot be given to a playground's API server", a.Name, a.Value), Remedy: "use letters, digits and dashes for its name, ASCII for its value"}
		}
	}
	for _, m := range o.APIServerMounts {
		if !pathPattern.MatchString(m.Path) || filepath.Clean(m.Path) != m.Path || m.Path == "/" {
			return &UserError{Problem: fmt.Sprintf("%q cannot be mounted into a playground's API server", m.Path), Remedy: "use a whole path of letters, digits and . _ / @ + -"}
		}
	}
	return nil
}

func (o Options) check() error {
	switch {
	case !namePattern.MatchString(o.Name):
		return &UserError{
			Problem: fmt.Sprintf("--name %q is not a playground's name", o.Name),
			Remedy:  "use lower-case letters, digits and dashes, a letter first, 31 at most",
		}
	case o.Kubernetes != "" && !versionPattern.MatchString(o.Kubernetes):
		return &UserError{
			Problem: fmt.Sprintf("--kubernetes %q is not a version", o.Kubernetes),
			Remedy:  "write it like " + DefaultKubernetes,
		}
	case o.Profile != ProfileClean && o.Profile != ProfileVeteran:
		return &UserError{
			Problem: fmt.Sprintf("--profile %q is unknown", o.Profile),
			Remedy:  "say clean or veteran",
		}
	case o.EtcdListen != EtcdOnHost && o.EtcdListen != EtcdOnLocalhost:
		return &UserError{
			Problem: fmt.Sprintf("--etcd-listen %q is unknown", o.EtcdListen),
			Remedy:  "say host or localhost",
		}
	case o.Workers > maxWorkers:
		return &UserError{
			Problem: fmt.Sprintf("--workers %d is too many", o.Workers),
			Remedy:  fmt.Sprintf("ask for %d at most", maxWorkers),
		}
	case o.Objects < 0 || o.Objects > maxObjects:
		return &UserError{
			Problem: fmt.Sprintf("--objects %d is not a number that etcd's 2 GiB can hold", o.Objects),
			Remedy:  fmt.Sprintf("ask for %d at most (30000 make 200 MB), or for 0, which is none", maxObjects),
		}
	case o.SudoUser != "" && (!userPattern.MatchString(o.SudoUser) || o.SudoUser == "root"):
		return &UserError{
			Problem: fmt.Sprintf("--sudo-user %q cannot be made on the hosts", o.SudoUser),
			Remedy:  "use a plain user name other than root, such as operator",
		}
	}
	return nil
}

// differs names the first option that makes want another playground, or "".
func (o Options) differs(want Options) string {
	switch {
	case want.Kubernetes != "" && o.Kubernetes != want.Kubernetes:
		return "--kubernetes (" + o.Kubernetes + ")"
	case cmp.Or(o.Profile, ProfileClean) != want.Profile: // one made by an older program has none
		return "--profile (" + cmp.Or(o.Profile, ProfileClean) + ")"
	case o.EtcdListen != want.EtcdListen:
		return "--etcd-listen (" + o.EtcdListen + ")"
	case o.Workers != want.Workers:
		return fmt.Sprintf("--workers (%d)", max(o.Workers, 0))
	case o.SudoUser != want.SudoUser:
		return "--sudo-user (" + o.SudoUser + ")"
	case o.Spare != want.Spare:
		return fmt.Sprintf("--spare (%t)", o.Spare)
	case o.Hardened != want.Hardened:
		return fmt.Sprintf("--hardened (%t)", o.Hardened)
	case !slices.Equal(o.APIServerArgs, want.APIServerArgs), !slices.Equal(o.APIServerMounts, want.APIServerMounts):
		return "the API server's arguments and mounts"
	case o.Objects != want.Objects:
		return fmt.Sprintf("--objects (%d)", o.Objects)
	}
	return ""
}

// veteran says whether the cluster is to be as years leave one.
func (o Options) veteran() bool { return o.Profile == ProfileVeteran }

// id is the playground's name on this machine: of its network namespace, its
// cgroups and its machines. The folder is part of it, so that playgrounds of
// one name in two folders cannot take each other down.
func (o Options) id() string {
	sum := sha256.Sum256([]byte(filepath.Join(o.Dir, o.Name)))
	return "migrate-" + o.Name + "-" + hex.EncodeToString(sum[:3])
}

func playgroundDir(root, name string) (string, error) {
	o, err := Options{Dir: root, Name: name}.withDefaults()
	if err != nil {
		return "", err
	}
	return filepath.Join(o.Dir, o.Name), nil
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// UserError is something the user can put right: what is wrong, and what to
// do about it.
type UserError struct {
	Problem, Remedy string
}

func (e *UserError) Error() string { return e.Problem + ": " + e.Remedy }

// sentenceList joins words as prose: "a, b and c".
func sentenceList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
