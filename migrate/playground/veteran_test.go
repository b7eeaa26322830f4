package playground

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hamigrate/migrate/cluster"
)

// veteranTest is a veteran as Up makes it.
func veteranTest(t *testing.T) *Playground {
	t.Helper()
	return newTest(t, func(s *state) {
		o, err := Options{Name: s.Name, Dir: s.Dir, CacheDir: s.CacheDir, Profile: ProfileVeteran}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		s.Options, s.NewerBase = o, s.Base+"-newer"
	})
}

// What engineers did by hand must be unknown to kubeadm's configuration, and
// what it knows must be there once.
func TestVeteranConfiguration(t *testing.T) {
	t.Parallel()
	p := veteranTest(t)
	data := clusterData{
		Kubernetes: "1.36.3", Token: "abcdef.0123456789abcdef", Ignore: "[SystemVerification]",
		First: withRole(p.hosts, RoleFirst)[0], PodSubnet: podSubnet, ServiceSubnet: serviceSubnet,
		Localhost: true, Veteran: true, Components: components(p.state.Options), DiscoveryFile: "/run/d", CAData: "eA==",
	}
	text, err := render("init.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	docs := decodeAll(t, text)
	if networking := docs[1]["networking"].(map[string]any); networking["podSubnet"] != nil {
		t.Errorf("podSubnet is in kubeadm-config: %v", networking)
	}
	if docs[3]["mode"] != "nftables" {
		t.Errorf("kube-proxy: %v", docs[3])
	}
	for _, component := range []string{"apiServer", "controllerManager", "scheduler"} {
		if volumes := fmt.Sprint(docs[1][component]); !strings.Contains(volumes, "/etc/localtime") {
			t.Errorf("%s does not mount the time zone: %s", component, volumes)
		}
	}
	for _, byHand := range []string{"profiling", "max-requests-inflight", "bind-address", "cluster-cidr", "allocate-node-cidrs", "listen-metrics-urls", "GOGC", "webhooks"} {
		if strings.Contains(text, byHand) {
			t.Errorf("%s is in kubeadm-config", byHand)
		}
	}
	join, err := render("join.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if doc := decodeAll(t, join)[0]; !cmp.Equal(doc["discovery"], map[string]any{"file": map[string]any{"kubeConfigPath": "/run/d"}}) {
		t.Errorf("discovery is %v", doc["discovery"])
	}
	for _, name := range []string{"veteran-init", "discovery.yaml"} {
		text, err := render(name, data)
		if err != nil {
			t.Fatal(err)
		}
		if name == "discovery.yaml" {
			decodeAll(t, text)
		} else if out, err := exec.Command("/bin/sh", "-n", "-c", text).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// The edits are sed's: each must find what it is to change.
func TestVeteranEditsChangeManifests(t *testing.T) {
	t.Parallel()
	script, err := render("veteran-init", clusterData{First: Host{Name: "cp1", Address: slotAddress(3, lastControlPlane)}, PodSubnet: podSubnet})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		manifest string
		want     []string
	}{
		"kube-apiserver": {"    - --tls-private-key-file=/k\n    image: x\n    volumeMounts:\n  volumes:\n",
			[]string{"    - --profiling=false", "    - --max-requests-inflight=800", "    - name: GOGC", "  - hostPath:", "    - mountPath: /etc/kubernetes/webhooks"}},
		"kube-controller-manager": {"    - --bind-address=127.0.0.1\n    - --use-service-account-credentials=true\n",
			[]string{"    - --bind-address=0.0.0.0", "    - --allocate-node-cidrs=true", "    - --cluster-cidr=" + podSubnet}},
		"kube-scheduler": {"    - --bind-address=127.0.0.1\n", []string{"    - --bind-address=0.0.0.0"}},
		"etcd":           {"    - --listen-metrics-urls=http://127.0.0.1:2381\n", []string{"    - --listen-metrics-urls=http://127.0.0.1:2381,http://198.18.3.11:2381"}},
	} {
		_, rest, ok := strings.Cut(script, "edit "+name+" <<'SED'\n")
		program, _, _ := strings.Cut(rest, "SED\n")
		if !ok {
			t.Fatalf("%s is not edited", name)
		}
		cmd := exec.Command("sed", program)
		cmd.Stdin = strings.NewReader(c.manifest)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, line := range c.want {
			if !slices.Contains(strings.Split(string(out), "\n"), line) {
				t.Errorf("%s lacks %q:\n%s", name, line, out)
			}
		}
	}
}

func TestVeteranSpecHasANameThatItsHostsKnow(t *testing.T) {
	t.Parallel()
	p := veteranTest(t)
	text, err := p.spec("[SystemVerification]")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := cluster.ParseBytes(p.SpecFile(), []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if want := (cluster.Endpoint{Host: EndpointName, Port: 6443}); spec.Endpoint != want {
		t.Errorf("the endpoint is %v, not %v", spec.Endpoint, want)
	}
	for _, h := range p.hosts {
		list, err := p.hostFiles(h, "registry.k8s.io/pause:3.10.2")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]hostFile{}
		for _, f := range list {
			if _, twice := seen[f.path]; twice {
				t.Errorf("%s has %s twice", h.Name, f.path)
			}
			seen[f.path] = f
		}
		if !strings.Contains(seen["/etc/hosts"].data, "198.18.3.5\t"+EndpointName+"\n") {
			t.Errorf("%s does not know the endpoint:\n%s", h.Name, seen["/etc/hosts"].data)
		}
		second := "Address=" + h.second().String() + "/24"
		if got := strings.Contains(seen["/etc/systemd/network/10-host0.network"].data, second); got != h.kubernetes() {
			t.Errorf("%s has a second address: %t", h.Name, got)
		}
		if got := p.base(h) == p.state.NewerBase; got != slices.Contains([]string{"lb1", "e3", "cp3", "w2"}, h.Name) {
			t.Errorf("%s has the newer Debian: %t", h.Name, got)
		}
	}
}

func TestVeteranOptions(t *testing.T) {
	t.Parallel()
	o, err := Options{Profile: ProfileVeteran}.withDefaults()
	if err != nil || o.EtcdListen != EtcdOnLocalhost || !o.Hardened {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = Options{Profile: ProfileVeteran, EtcdListen: EtcdOnHost}.withDefaults()
	if err != nil || o.EtcdListen != EtcdOnHost {
		t.Errorf("%+v, %v", o, err)
	}
	// One made before there were profiles is a clean one.
	clean, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	old := clean
	old.Profile = ""
	if diff := old.differs(clean); diff != "" {
		t.Errorf("an older playground differs in %s", diff)
	}
}
