package build

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// module is a Go module of our own that exists to build programs of others:
// `go install program@version` refuses Kubernetes for its replace lines, and
// takes no version for the linker.
type module struct {
	Requires []string          // "path version"
	Packages []string          // main packages to build
	LDFlags  []string          // besides -s -w
	Sources  map[string]string // files of the module itself
	Rename   map[string]string // what `go build` calls a program, and what it is called here

	// Staged, if not empty, is the one of Requires whose go.mod replaces
	// k8s.io modules by folders inside itself, which another module cannot.
	Staged string
	// Compiled is how many packages a build compiles when Go's cache was
	// empty before Kubernetes was built,
	// for progress only and so no part of the recipe.
	Compiled int `json:"-"`
}

// kubernetesPrograms are the commands of k8s.io/kubernetes that are built.
func kubernetesPrograms() []string {
	return []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubeadm", "kubectl"}
}

// kubernetesModule builds Kubernetes. The version goes in as release builds
// do it (hack/lib/version.sh): kubeadm refuses to work without one.
func kubernetesModule(version string) module {
	const pkg = "k8s.io/component-base/version"
	minor := strings.Split(version, ".")[1]
	m := module{
		Requires: []string{"k8s.io/kubernetes v" + version},
		Staged:   "k8s.io/kubernetes",
		LDFlags: []string{
			"-X " + pkg + ".gitVersion=v" + version,
			"-X " + pkg + ".gitMajor=1",
			"-X " + pkg + ".gitMinor=" + minor,
			"-X " + pkg + ".gitTreeState=clean",
		},
		Compiled: 2810,
	}
	for _, program := range kubernetesPrograms() {
		m.Packages = append(m.Packages, "k8s.io/kubernetes/cmd/"+program)
	}
	return m
}

// etcdTools are the etcd versions whose etcdctl and etcdutl are not published
// as modules, and the nearest patch of the same minor that is used for these
// two instead. The server is of the version named in each case, and so is
// the tag of the image.
func etcdTools() map[string]string {
	return map[string]string{"3.5.24": "3.5.35"} // Kubernetes 1.33.13
}

// etcdModules builds the etcd server and its tools. They are two modules
// where the versions differ: in one, the server would be raised to the
// version that etcdutl requires.
func etcdModules(version string) []module {
	const server, ctl, utl = "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"
	rename := map[string]string{"server": "etcd"} // the main package is the module's root
	tools, differs := etcdTools()[version]
	if !differs {
		return []module{{
			Requires: []string{server + " v" + version, ctl + " v" + version, utl + " v" + version},
			Packages: []string{server, ctl, utl}, Rename: rename, Compiled: 350,
		}}
	}
	return []module{
		{Requires: []string{server + " v" + version}, Packages: []string{server}, Rename: rename, Compiled: 300},
		{Requires: []string{ctl + " v" + tools, utl + " v" + tools}, Packages: []string{ctl, utl}, Compiled: 300},
	}
}

// coreDNSModule builds CoreDNS; version has no v.
func coreDNSModule(version string) module {
	const pkg = "github.com/coredns/coredns"
	return module{Requires: []string{pkg + " v" + version}, Packages: []string{pkg}, Compiled: 1040}
}

// pauseModule builds the pause program, whose source is our own.
func pauseModule(version, source string) module {
	return module{
		Sources:  map[string]string{"main.go": source},
		Packages: []string{"playground"},
		Rename:   map[string]string{"playground": "pause"},
		LDFlags:  []string{"-X main.version=" + version},
		Compiled: 1,
	}
}

// goMod returns the module's go.mod. staged is the go.mod of m.Staged.
func (m module) goMod(staged string) (string, error) {
	var b strings.Builder
	b.WriteString("module playground\n\n")
	for _, word := range []string{"go", "godebug"} {
		// The language version and the runtime defaults that the programs
		// are released with.
		if line := regexp.MustCompile(`(?m)^` + word + ` .*$`).FindString(staged); line != "" {
			b.WriteString(line + "\n")
		} else if word == "go" {
			b.WriteString("go 1.24\n")
		}
	}
	for _, r := range m.Requires {
		fmt.Fprintf(&b, "require %s\n", r)
	}
	if m.Staged == "" {
		return b.String(), nil
	}
	i := slices.IndexFunc(m.Requires, func(r string) bool { return strings.HasPrefix(r, m.Staged+" v1.") })
	if i < 0 {
		return "", fmt.Errorf("no version 1 of %s is required", m.Staged)
	}
	// v1.Y.Z of k8s.io/kubernetes is published as v0.Y.Z of the others.
	version := "v0." + strings.TrimPrefix(m.Requires[i], m.Staged+" v1.")
	found := regexp.MustCompile(`(?m)^(?:replace)?\s*(k8s\.io/\S+) => \./staging/`).FindAllStringSubmatch(staged, -1)
	if len(found) == 0 {
		return "", fmt.Errorf("the go.mod of %s names no staging modules", m.Staged)
	}
	for _, f := range found {
		fmt.Fprintf(&b, "replace %s => %s %s\n", f[1], f[1], version)
	}
	return b.String(), nil
}
