package playground

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"
)

// Bounds of the waits; on an idle machine with two processors each takes a
// tenth of it.
const (
	initTimeout  = 6 * time.Minute
	joinTimeout  = 6 * time.Minute // kubeadm itself waits five for the kubelet's certificate
	readyTimeout = 5 * time.Minute
)

// minMemory is what kubeadm wants of a control-plane node, in KiB
// (kubeadm's constants.ControlPlaneMem).
const minMemory = 1700 << 10

// ignoredPreflightErrors are what kubeadm would refuse this machine for, as a
// YAML list. SystemVerification is always among them: a host has no kernel
// configuration to look at, and cgroup v1 is refused from Kubernetes 1.35 on.
func ignoredPreflightErrors(swaps string, processors, memory int) string {
	ignored := []string{"SystemVerification"}
	if strings.Count(swaps, "\n") > 1 { // more than the header
		ignored = append(ignored, "Swap")
	}
	if processors < 2 {
		ignored = append(ignored, "NumCPU")
	}
	if memory < minMemory {
		ignored = append(ignored, "Mem")
	}
	return "[" + strings.Join(ignored, ", ") + "]"
}

// machineIgnores is ignoredPreflightErrors of this machine.
func machineIgnores() (string, error) {
	swaps, err := os.ReadFile("/proc/swaps")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	memory, err := machineMemory("MemTotal")
	if err != nil {
		return "", err
	}
	return ignoredPreflightErrors(string(swaps), runtime.NumCPU(), memory), nil
}

// clusterData is what kubeadm's configuration files are rendered with.
type clusterData struct {
	Kubernetes               string
	Token, CAHash            string
	First, Node              Host
	Ignore                   string
	PodSubnet, ServiceSubnet string
	Localhost, Veteran       bool
	CgroupV1                 bool
	Components               []component
	Mounts                   []Mount
	DiscoveryFile, CAData    string
}

func (p *Playground) clusterData() (clusterData, error) {
	v1, err := onlyCgroupV1()
	if err != nil {
		return clusterData{}, err
	}
	ignore, err := machineIgnores()
	if err != nil {
		return clusterData{}, err
	}
	token := make([]byte, 11)
	if _, err := rand.Read(token); err != nil {
		return clusterData{}, err
	}
	text := hex.EncodeToString(token)
	return clusterData{
		Kubernetes: p.state.Kubernetes,
		Token:      text[:6] + "." + text[6:],
		First:      withRole(p.hosts, RoleFirst)[0],
		Ignore:     ignore,
		PodSubnet:  podSubnet, ServiceSubnet: serviceSubnet,
		Localhost:     p.state.EtcdListen == EtcdOnLocalhost,
		Veteran:       p.state.veteran(),
		CgroupV1:      v1,
		Components:    components(p.state.Options),
		Mounts:        p.state.APIServerMounts,
		DiscoveryFile: "/run/playground-discovery.conf",
	}, nil
}

// initCluster makes the cluster's first control-plane node. There is no
// controlPlaneEndpoint: that the API's address is this node's is what the
// migration is to change.
func (p *Playground) initCluster(ctx context.Context, data clusterData) error {
	if p.state.Hardened {
		if err := p.writeHardening(ctx, data.First); err != nil {
			return err
		}
	}
	if len(data.Mounts) > 0 {
		if _, err := p.exec(ctx, data.First, "", mountScript(data.Mounts)); err != nil {
			return err
		}
	}
	config, err := render("init.yaml", data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	// Through standard input: the token is nobody else's to read.
	script := "kubeadm init --config /dev/stdin"
	if data.Veteran {
		if script, err = render("veteran-init", data); err != nil {
			return err
		}
	}
	_, err = p.exec(ctx, data.First, config, script)
	return err
}

// writeHardening puts the files on the node that the API server is to mount.
func (p *Playground) writeHardening(ctx context.Context, h Host) error {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	encryption, err := render("encryption.yaml", struct{ EncryptionKey string }{base64.StdEncoding.EncodeToString(key)})
	if err != nil {
		return err
	}
	own := map[string]string{encryptionFile: encryption}
	if !p.state.veteran() { // which has one already
		if own[auditDir+"/policy.yaml"], err = render("audit.yaml", nil); err != nil {
			return err
		}
	}
	for path, text := range own {
		script := "umask 077; mkdir -p $(dirname " + path + "); cat > " + path
		if _, err := p.exec(ctx, h, text, script); err != nil {
			return err
		}
	}
	return nil
}

// mountScript makes what the API server is to mount. Paths are checked with
// the options, so they need no quotes.
func mountScript(mounts []Mount) string {
	lines := []string{"set -eu", "umask 077"}
	for _, m := range mounts {
		file := m.Path
		if !m.File {
			lines = append(lines, "mkdir -p "+m.Path)
			file += "/playground"
		}
		lines = append(lines, "mkdir -p $(dirname "+file+")", "[ -e "+file+" ] || echo made by the playground > "+file)
	}
	return strings.Join(lines, "\n")
}

// joinWorkers joins the workers, all at once.
func (p *Playground) joinWorkers(ctx context.Context, data clusterData) error {
	hash, err := caCertHash(p.rootFile(data.First, caFile))
	if err != nil {
		return fmt.Errorf("reading the cluster's CA: %w", err)
	}
	data.CAHash = hash
	ca, err := os.ReadFile(p.rootFile(data.First, caFile))
	if err != nil {
		return fmt.Errorf("reading the cluster's CA: %w", err)
	}
	data.CAData = base64.StdEncoding.EncodeToString(ca)
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	workers := withRole(p.hosts, RoleWorker)
	return each(ctx, workers, len(workers), func(ctx context.Context, h Host) error {
		node := data
		node.Node = h
		config, err := render("join.yaml", node)
		if err != nil {
			return err
		}
		if data.Veteran {
			discovery, err := render("discovery.yaml", node)
			if err != nil {
				return err
			}
			if _, err := p.exec(ctx, h, discovery, "umask 077; cat > "+node.DiscoveryFile); err != nil {
				return err
			}
		}
		_, err = p.exec(ctx, h, config, "kubeadm join --config /dev/stdin && rm -f "+node.DiscoveryFile)
		return err
	})
}

// caCertHash is what kubeadm pins a CA by: the digest of its public key
// (kubeadm's app/util/pubkeypin).
func caCertHash(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return "", errors.New("no PEM block in " + path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// waitReady waits until every node is Ready, and kube-proxy and CoreDNS run
// on all of them. kubectl watches; what it saw last is in the error.
func (p *Playground) waitReady(ctx context.Context) error {
	first := withRole(p.hosts, RoleFirst)[0]
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var nodes []string
	for _, h := range p.hosts {
		if h.joins() {
			nodes = append(nodes, "node/"+h.Name)
		}
	}
	seconds := int(readyTimeout.Seconds())
	steps := []string{
		// After a power cut the API server itself takes a moment; so does a
		// new node's object.
		fmt.Sprintf("end=$(($(date +%%s)+%d)); until kubectl get %s >/dev/null 2>&1; do [ $(date +%%s) -lt $end ] || { kubectl get nodes; exit 1; }; sleep 0.3; done",
			seconds, strings.Join(nodes, " ")),
		fmt.Sprintf("kubectl wait %s --for=condition=Ready --timeout=%ds", strings.Join(nodes, " "), seconds),
		fmt.Sprintf("kubectl -n kube-system rollout status daemonset/kube-proxy --timeout=%ds", seconds),
		fmt.Sprintf("kubectl -n kube-system rollout status deployment/coredns --timeout=%ds", seconds),
	}
	_, err := p.exec(ctx, first, "", strings.Join(steps, " &&\n"))
	if err == nil {
		return nil
	}
	look, cancelLook := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancelLook()
	seen, _ := p.exec(look, first, "", "kubectl get nodes,pods -A -o wide 2>&1")
	return fmt.Errorf("waiting for the cluster to be ready: %w; seen last:\n%s", err, seen)
}
