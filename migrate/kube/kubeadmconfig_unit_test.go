package kube

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const v1beta3 = `apiServer:
  extraArgs:
    advertise-address: 10.88.0.11
    authorization-mode: Node,RBAC
    v: "2"
  timeoutForControlPlane: 4m0s
apiVersion: kubeadm.k8s.io/v1beta3
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controllerManager: {}
dns: {}
etcd:
  local:
    dataDir: /var/lib/etcd
    extraArgs:
      quota-backend-bytes: "8589934592"
futureField: {of: [a, later, kubeadm]}
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.30.14
networking:
  dnsDomain: cluster.local
  serviceSubnet: 10.96.0.0/12
scheduler: {}
`

const v1beta4 = `apiServer: {}
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
certificateValidityPeriod: 8760h0m0s
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controllerManager:
  extraArgs:
  - name: allocate-node-cidrs
    value: "false"
dns: {}
encryptionAlgorithm: RSA-2048
etcd:
  local:
    dataDir: /var/lib/etcd
futureField: {of: [a, later, kubeadm]}
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
networking:
  dnsDomain: cluster.local
  serviceSubnet: 10.96.0.0/12
proxy: {}
scheduler: {}
`

const v1beta4Args = `  extraArgs:
  - name: advertise-address
    value: 10.88.0.11
  - name: v
    value: "2"
`

func mustConfig(t *testing.T, text string) ClusterConfiguration {
	t.Helper()
	c, err := ParseClusterConfiguration(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func replaced(t *testing.T, s, old, by string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q is there %d times", old, strings.Count(s, old))
	}
	return strings.Replace(s, old, by, 1)
}

func TestClusterConfigurationRoundTrip(t *testing.T) {
	t.Parallel()
	withArgs := strings.Replace(v1beta4, "apiServer: {}\n", "apiServer:\n"+v1beta4Args, 1)
	for _, text := range []string{v1beta3, v1beta4, withArgs} {
		if diff := cmp.Diff(text, mustConfig(t, text).String()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestClusterConfigurationEdits(t *testing.T) {
	t.Parallel()
	withArgs := strings.Replace(v1beta4, "apiServer: {}\n", "apiServer:\n"+v1beta4Args, 1)
	etcd := ExternalEtcd{Endpoints: []string{"https://10.88.0.21:2379", "https://10.88.0.22:2379"}, CAFile: "/ca", CertFile: "/crt", KeyFile: "/key"}
	const etcdBlock = "etcd:\n  external:\n    caFile: /ca\n    certFile: /crt\n    endpoints:\n    - https://10.88.0.21:2379\n    - https://10.88.0.22:2379\n    keyFile: /key\n"
	for name, tt := range map[string]struct {
		text     string
		edit     func(ClusterConfiguration)
		old, new string
	}{
		"names into an empty block": {v1beta4, func(c ClusterConfiguration) { c.AddCertSANs("10.88.0.5", "", "api.example") },
			"apiServer: {}\n", "apiServer:\n  certSANs:\n  - 10.88.0.5\n  - api.example\n"},
		"names into a full block": {v1beta3, func(c ClusterConfiguration) { c.AddCertSANs("10.88.0.5") },
			"  timeoutForControlPlane: 4m0s\n", "  timeoutForControlPlane: 4m0s\n  certSANs:\n  - 10.88.0.5\n"},
		"a name that YAML would take for a number": {v1beta4, func(c ClusterConfiguration) { c.AddCertSANs("1234") },
			"apiServer: {}\n", "apiServer:\n  certSANs:\n  - \"1234\"\n"},
		"external etcd, v1beta3": {v1beta3, func(c ClusterConfiguration) { c.SetExternalEtcd(etcd) },
			"etcd:\n  local:\n    dataDir: /var/lib/etcd\n    extraArgs:\n      quota-backend-bytes: \"8589934592\"\n", etcdBlock},
		"external etcd, v1beta4": {v1beta4, func(c ClusterConfiguration) { c.SetExternalEtcd(etcd) },
			"etcd:\n  local:\n    dataDir: /var/lib/etcd\n", etcdBlock},
		"the address of a map":  {v1beta3, func(c ClusterConfiguration) { c.DropAdvertiseAddress() }, "    advertise-address: 10.88.0.11\n", ""},
		"the address of a list": {withArgs, func(c ClusterConfiguration) { c.DropAdvertiseAddress() }, "  - name: advertise-address\n    value: 10.88.0.11\n", ""},
		"an endpoint":           {v1beta4, func(c ClusterConfiguration) { c.SetControlPlaneEndpoint("lb.example:6443") }, "scheduler: {}\n", "scheduler: {}\ncontrolPlaneEndpoint: lb.example:6443\n"},
		"the folder": {v1beta4, func(c ClusterConfiguration) { c.SetCertificatesDir("/tmp/x") },
			"certificatesDir: /etc/kubernetes/pki\n", "certificatesDir: /tmp/x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := mustConfig(t, tt.text)
			tt.edit(c)
			if diff := cmp.Diff(replaced(t, tt.text, tt.old, tt.new), c.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			again := mustConfig(t, c.String())
			tt.edit(again)
			if diff := cmp.Diff(c.String(), again.String()); diff != "" {
				t.Errorf("a second time it changes more (-first +second)\n%s", diff)
			}
		})
	}
}

func TestClusterConfigurationAnswers(t *testing.T) {
	t.Parallel()
	c := mustConfig(t, v1beta4)
	if !c.AddCertSANs("a", "b") || c.AddCertSANs("b", "a", "") || !c.AddCertSANs("a", "c") {
		t.Error("AddCertSANs does not say what it did")
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, c.CertSANs()); diff != "" {
		t.Error(diff)
	}
	if c.DropAdvertiseAddress() {
		t.Error("an address was dropped where there is none")
	}
	old := mustConfig(t, v1beta3)
	if !old.DropAdvertiseAddress() || old.DropAdvertiseAddress() {
		t.Error("DropAdvertiseAddress does not say what it did")
	}
	if _, ok := c.ExternalEtcd(); ok {
		t.Error("local etcd was taken for an external one")
	}
	want := ExternalEtcd{Endpoints: []string{"https://e1:2379"}, CAFile: "a", CertFile: "b", KeyFile: "c"}
	c.SetExternalEtcd(want)
	got, ok := c.ExternalEtcd()
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("%t %s", ok, diff)
	}
	if strings.Contains(c.String(), "local:") {
		t.Error("local and external exclude each other")
	}
	bare := mustConfig(t, "kind: ClusterConfiguration\n")
	if bare.CertificatesDir() != "/etc/kubernetes/pki" || bare.ControlPlaneEndpoint() != "" || bare.APIVersion() != "" {
		t.Error("the defaults are not kubeadm's")
	}
	if !bare.AddCertSANs("a") || bare.String() != "kind: ClusterConfiguration\napiServer:\n  certSANs:\n  - a\n" {
		t.Errorf("got %q", bare.String())
	}
}

// The only argument dropped leaves an empty list or map, which kubeadm takes
// for nothing.
func TestDropTheOnlyArgument(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"{advertise-address: 1.2.3.4}", "[{name: advertise-address, value: 1.2.3.4}]"} {
		c := mustConfig(t, "kind: ClusterConfiguration\napiServer:\n  extraArgs: "+args+"\n")
		if !c.DropAdvertiseAddress() {
			t.Errorf("%s: nothing was dropped", args)
		}
		var out struct {
			APIServer struct {
				ExtraArgs yaml.Node `yaml:"extraArgs"`
			} `yaml:"apiServer"`
		}
		if err := yaml.Unmarshal([]byte(c.String()), &out); err != nil {
			t.Fatal(err)
		}
		if n := out.APIServer.ExtraArgs; len(n.Content) != 0 || n.Kind == yaml.ScalarNode {
			t.Errorf("left: %s", c)
		}
	}
}

func TestParseClusterConfigurationRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a", "- kind: ClusterConfiguration", "kind: InitConfiguration", "kind: [", "apiVersion: kubeadm.k8s.io/v1beta4"} {
		if _, err := ParseClusterConfiguration(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// TestEtcdOfBefore: the etcd section of before goes back into what the
// configuration has become, in the shape of its version.
func TestEtcdOfBefore(t *testing.T) {
	t.Parallel()
	const asMap = "etcd:\n  local:\n    dataDir: /var/lib/etcd\n    extraArgs:\n      quota-backend-bytes: \"8589934592\"\n      snapshot-count: \"5000\"\n"
	const asList = "etcd:\n  local:\n    dataDir: /var/lib/etcd\n    extraArgs:\n    - name: quota-backend-bytes\n      value: \"8589934592\"\n    - name: snapshot-count\n      value: \"5000\"\n"
	const head = "apiVersion: kubeadm.k8s.io/%s\nclusterName: kubernetes\n%skind: ClusterConfiguration\n"
	for _, test := range []struct{ name, old, now, want string }{
		{"v1beta4 as it was", fmt.Sprintf(head, "v1beta4", asList), "v1beta4", asList},
		{"v1beta3 as it was", fmt.Sprintf(head, "v1beta3", asMap), "v1beta3", asMap},
		{"upgraded meanwhile", fmt.Sprintf(head, "v1beta3", asMap), "v1beta4", asList},
		{"and the other way round", fmt.Sprintf(head, "v1beta4", asList), "v1beta3", asMap},
		{"no section", fmt.Sprintf(head, "v1beta4", ""), "v1beta4", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			old, err := ParseClusterConfiguration(test.old)
			if err != nil {
				t.Fatal(err)
			}
			before := old.String()
			now, err := ParseClusterConfiguration(fmt.Sprintf(head, test.now, "etcd: {}\n"))
			if err != nil {
				t.Fatal(err)
			}
			now.SetExternalEtcd(ExternalEtcd{Endpoints: []string{"https://10.88.0.21:2379"}})
			now.SetEtcdOf(old)
			if got, want := now.String(), fmt.Sprintf(head, test.now, test.want); got != want {
				t.Errorf("got\n%s\nwanted\n%s", got, want)
			}
			if old.String() != before {
				t.Errorf("the one of before has become\n%s", old.String())
			}
		})
	}
}

// TestShown: a proxy's password stands in extraEnvs, of any component.
func TestShown(t *testing.T) {
	t.Parallel()
	const text = `apiServer:
  extraEnvs:
  - name: HTTPS_PROXY
    value: http://ines:opensesame@proxy:3128
  - name: FROM
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
apiVersion: kubeadm.k8s.io/v1beta4
controllerManager:
  extraEnvs: [{name: A, value: opensesame}, opensesame]
etcd:
  local:
    extraEnvs: opensesame
kind: ClusterConfiguration
`
	c, err := ParseClusterConfiguration(text)
	if err != nil {
		t.Fatal(err)
	}
	same := c.String()
	shown := c.Shown()
	if strings.Contains(shown, "opensesame") || !strings.Contains(shown, "  - name: HTTPS_PROXY\n    value: (not shown)\n") || !strings.Contains(shown, "fieldPath: metadata.name") {
		t.Errorf("shown is\n%s", shown)
	}
	if c.String() != same {
		t.Errorf("showing it changed it:\n%s", c)
	}
	if c, err = ParseClusterConfiguration(v1beta3); err != nil || c.Shown() != c.String() {
		t.Errorf("without extraEnvs: %v\n%s", err, c.Shown())
	}
}
