package kube

import (
	"fmt"
	"strings"
	"testing"
)

// podFor is a pod of kubeadm's with flags and lines for its container.
func podFor(flags []string, more ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\nspec:\n  containers:\n  - name: kube-apiserver\n    image: registry.k8s.io/kube-apiserver:v1.36.3\n    command:\n    - kube-apiserver\n")
	for _, f := range flags {
		fmt.Fprintf(&b, "    - %q\n", f)
	}
	b.WriteString(strings.Join(more, "\n") + "\n")
	return b.String()
}

func sidesOf(t *testing.T, live, made string) Sides {
	t.Helper()
	l, err := ParseManifest([]byte(live))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseManifest([]byte(made))
	if err != nil {
		t.Fatal(err)
	}
	return Sides{Component: APIServer, Live: l, LiveOwn: Own{"cp1", "10.88.0.11"}, Made: m, MadeOwn: Own{"cp2", "10.88.0.12"}}
}

// TestCompareFlags: what means the same on its node is the same.
func TestCompareFlags(t *testing.T) {
	t.Parallel()
	theirs := []string{"--advertise-address=10.88.0.11", "--etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379", "--allow-privileged=true", "--v=2", "--feature-gates=A=true,B=false"}
	for name, tt := range map[string]struct {
		mine []string
		want string // the flags that differ
	}{
		"alike":                    {[]string{"--advertise-address=10.88.0.12", "--etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379", "--allow-privileged=true", "--v=2", "--feature-gates=A=true,B=false"}, ""},
		"another order, other way": {[]string{"--v", "2", "--etcd-servers", "https://10.88.0.22:2379,https://10.88.0.21:2379", "--advertise-address", "10.88.0.12", "--allow-privileged", "--feature-gates=A=true", "--feature-gates=B=false"}, ""},
		"the same value twice":     {[]string{"--advertise-address=10.88.0.12", "--etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379", "--allow-privileged=true", "--v=2", "--v=2", "--feature-gates=A=true,B=false"}, ""},
		"the first's address":      {[]string{"--advertise-address=10.88.0.11", "--etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379", "--allow-privileged=true", "--v=2", "--feature-gates=A=true,B=false"}, "advertise-address"},
		"in another form":          {[]string{"--advertise-address=::ffff:10.88.0.12", "--etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379", "--allow-privileged=true", "--v=2", "--feature-gates=A=true,B=false"}, ""},
		"no address":               {[]string{"--etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379", "--allow-privileged=true", "--v=2", "--feature-gates=A=true,B=false"}, "advertise-address"},
		"another etcd":             {[]string{"--advertise-address=10.88.0.12", "--etcd-servers=https://127.0.0.1:2379", "--allow-privileged=true", "--v=2", "--feature-gates=A=true,B=false"}, "etcd-servers"},
		"one missing, one more":    {[]string{"--advertise-address=10.88.0.12", "--etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379", "--v=2", "--feature-gates=A=true,B=false", "--profiling=false"}, "allow-privileged profiling"},
		"given twice, otherwise":   {[]string{"--advertise-address=10.88.0.12", "--etcd-servers=https://10.88.0.21:2379,https://10.88.0.22:2379", "--allow-privileged=true", "--v=1", "--v=2", "--feature-gates=A=true,B=false"}, "v"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, err := sidesOf(t, podFor(theirs), podFor(tt.mine)).Compare()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range list {
				got = append(got, d.Name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("differ: %v", list)
			}
		})
	}
}

// TestComparePods: what is the node's own is told from what can be written, and
// a patch makes the rest the same.
//
// Long: a row for each kind of difference.
func TestComparePods(t *testing.T) {
	t.Parallel()
	made := podFor([]string{"--advertise-address=10.88.0.12", "--v=2"}, `    livenessProbe: {httpGet: {host: 10.88.0.12, path: /livez, port: 6443}}
    startupProbe: {failureThreshold: 24, httpGet: {host: 10.88.0.12, path: /livez, port: 6443}}
    resources: {requests: {cpu: 250m}}
    volumeMounts: [{name: k8s-certs, mountPath: /etc/kubernetes/pki, readOnly: true}, {name: usr-share-ca-certificates, mountPath: /usr/share/ca-certificates, readOnly: true}]
  volumes:
  - {name: k8s-certs, hostPath: {path: /etc/kubernetes/pki, type: DirectoryOrCreate}}
  - {name: usr-share-ca-certificates, hostPath: {path: /usr/share/ca-certificates, type: DirectoryOrCreate}}`)
	same := podFor([]string{"--v=2", "--advertise-address=10.88.0.11"}, `    livenessProbe: {httpGet: {host: 10.88.0.11, path: /livez, port: 6443}}
    startupProbe: {failureThreshold: 24, httpGet: {host: 10.88.0.11, path: /livez, port: 6443}}
    resources: {requests: {cpu: "0.25"}}
    volumeMounts: [{name: k8s-certs, mountPath: /etc/kubernetes/pki, readOnly: true}]
  volumes:
  - {name: k8s-certs, hostPath: {path: /etc/kubernetes/pki/, type: DirectoryOrCreate}}`)
	for name, tt := range map[string]struct {
		from, to string // in `same`
		want     string // name, and how it is
	}{
		"the same":           {"", "", ""},
		"a flag":             {`- "--v=2"`, `- "--profiling=false"` + "\n    - \"--v=2\"", "profiling writable"},
		"a bind address":     {`- "--v=2"`, `- "--bind-address=10.88.0.11"` + "\n    - \"--v=2\"", "bind-address own"},
		"in an IPv6 form":    {`- "--v=2"`, `- "--bind-address=::ffff:10.88.0.11"` + "\n    - \"--v=2\"", "bind-address own"},
		"an issuer":          {`- "--v=2"`, `- "--service-account-issuer=https://10.88.0.11:6443"` + "\n    - \"--v=2\"", "service-account-issuer writable"},
		"a log of its own":   {`- "--v=2"`, `- "--audit-log-path=/var/log/cp1/audit.log"` + "\n    - \"--v=2\"", "audit-log-path own"},
		"a secret":           {`- "--v=2"`, `- "--x=https://ines:opensesame@proxy"` + "\n    - \"--v=2\"", "x secret"},
		"a variable":         {"    volumeMounts:", "    env: [{name: TZ, value: UTC}]\n    volumeMounts:", "TZ writable"},
		"a secret variable":  {"    volumeMounts:", "    env: [{name: DB_PASSWORD, value: opensesame}]\n    volumeMounts:", "DB_PASSWORD secret"},
		"a proxy's password": {"    volumeMounts:", "    env: [{name: HTTPS_PROXY, value: 'http://ines:opensesame@proxy:3128'}]\n    volumeMounts:", "HTTPS_PROXY secret"},
		"a secret's path":    {"    volumeMounts:", "    env: [{name: DB_PASS, value: /opensesame+}]\n    volumeMounts:", "DB_PASS secret"},
		"a key of a cloud":   {"    volumeMounts:", "    env: [{name: AWS_SECRET_ACCESS_KEY, value: opensesame}]\n    volumeMounts:", "AWS_SECRET_ACCESS_KEY secret"},
		"who knows what":     {"    volumeMounts:", "    env: [{name: KMS, value: opensesame}]\n    volumeMounts:", "KMS secret"},
		"without a scheme":   {"    volumeMounts:", "    env: [{name: HTTPS_PROXY, value: 'ines:opensesame@proxy:3128'}]\n    volumeMounts:", "HTTPS_PROXY secret"},
		"a proxy":            {"    volumeMounts:", "    env: [{name: HTTPS_PROXY, value: 'proxy:3128'}]\n    volumeMounts:", "HTTPS_PROXY writable"},
		"from the pod":       {"    volumeMounts:", "    env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]\n    volumeMounts:", "WHO writable"},
		"its own variable":   {"    volumeMounts:", "    env: [{name: POD_IP, value: 10.88.0.11}]\n    volumeMounts:", "POD_IP own"},
		"resources":          {`{cpu: "0.25"}`, `{cpu: "2"}`, "spec.containers[kube-apiserver].resources.requests.cpu hard"},
		"a probe":            {"path: /livez, port: 6443}}\n    resources", "path: /readyz, port: 6443}}\n    resources", "spec.containers[kube-apiserver].startupProbe.httpGet.path hard"},
		"a patient probe":    {"failureThreshold: 24", "failureThreshold: 60", "spec.containers[kube-apiserver].startupProbe.failureThreshold slight"},
		"another way in":     {"livenessProbe: {httpGet: {host: 10.88.0.11", "livenessProbe: {httpGet: {host: 127.0.0.1", "spec.containers[kube-apiserver].livenessProbe.httpGet.host slight"},
		"a stranger's probe": {"livenessProbe: {httpGet: {host: 10.88.0.11", "livenessProbe: {httpGet: {host: 198.51.100.7", "spec.containers[kube-apiserver].livenessProbe.httpGet.host hard"},
		"another image":      {"kube-apiserver:v1.36.3", "kube-apiserver:v1.36.2", "spec.containers[kube-apiserver].image hard"},
		"host aliases":       {"  volumes:", "  hostAliases: [{ip: 198.51.100.4, hostnames: [login.internal]}]\n  volumes:", "spec.hostAliases[0].hostnames[0] hard,spec.hostAliases[0].ip hard"},
		"an annotation":      {"metadata: {name: kube-apiserver,", "metadata: {annotations: {scrape: 'true'}, name: kube-apiserver,", "metadata.annotations.scrape hard"},
		"a priority class":   {"  volumes:", "  priorityClassName: system-cluster-critical\n  volumes:", "spec.priorityClassName hard"},
		"a mount":            {"readOnly: true}]\n", "readOnly: true}, {name: audit, mountPath: /var/log/audit}]\n", "audit hard"},
		"an in-memory mount": {"  volumes:\n", "  volumes:\n  - {name: scratch, emptyDir: {}}\n", "scratch hard"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := strings.Replace(same, tt.from, tt.to, 1)
			if tt.from != "" && live == same {
				t.Fatal("the text to replace is not there")
			}
			s := sidesOf(t, live, made)
			list, err := s.Compare()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			hard := false
			for _, d := range list {
				how := "hard"
				switch {
				case d.Own:
					how = "own"
				case d.Secret():
					how = "secret"
				case d.Slight:
					how = "slight"
				case d.Writable():
					how = "writable"
				}
				got = append(got, d.Name+" "+how)
				hard = hard || !d.Slight
				if strings.Contains(fmt.Sprint(d), "opensesame") {
					t.Errorf("a secret is shown: %s", d)
				}
			}
			if strings.Join(got, ",") != tt.want {
				t.Errorf("got %v", got)
			}
			if hard && !strings.Contains(tt.want, "audit hard") {
				patchedIsSame(t, s, list)
			}
		})
	}
}

// TestHiddenValuesThatDiffer are no less different for being hidden.
func TestHiddenValuesThatDiffer(t *testing.T) {
	t.Parallel()
	env := func(value string) string {
		return podFor([]string{"--v=2"}, "    env: [{name: KMS, value: '"+value+"'}]")
	}
	for _, made := range []string{"tcp://10.88.0.99/x", "tcp://10.88.0.11/y"} {
		list, err := sidesOf(t, env("tcp://10.88.0.11/x"), env(made)).Compare()
		if err != nil || len(list) != 1 || !list[0].Own || list[0].Alike() || list[0].Live != list[0].Made {
			t.Errorf("%s: %v, %v", made, list, err)
		}
	}
}

// TestANodeNamedLikeAFolder is not meant by paths and words that all nodes
// have: what runs there goes to all as it is. By flags that hold a name it is.
func TestANodeNamedLikeAFolder(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ value, want string }{
		"kubernetes":    {"--audit-policy-file=/etc/kubernetes/audit.yaml", "writable /etc/kubernetes/audit.yaml"},
		"audit":         {"--audit-policy-file=/etc/audit/policy.yaml", "writable /etc/audit/policy.yaml"},
		"control-plane": {"--cluster-name=control-plane", "writable control-plane"},
		"cp1":           {"--audit-log-path=/var/log/cp1/audit.log", "own /var/log/cp2/audit.log"},
		"kube":          {"--external-hostname=kube", "own cp2"},
	} {
		s := sidesOf(t, podFor([]string{"--v=2", tt.value}, "    resources: {limits: {memory: 2Gi}}"), podFor([]string{"--v=2"}))
		s.LiveOwn.Name = name
		s.Live.pod.Labels = map[string]string{"tier": "control-plane"}
		s.Made.pod.Labels = map[string]string{"tier": "control-plane"}
		list, err := s.Compare()
		if err != nil || len(list) != 2 {
			t.Fatalf("%s: %v, %v", name, list, err)
		}
		how, value, _ := strings.Cut(tt.want, " ")
		if list[0].Own != (how == "own") || list[0].Writable() != (how == "writable") {
			t.Errorf("%s: %s is not %s", name, list[0], how)
		}
		patches, _, err := s.Patches(list)
		if err != nil || len(patches) != 2 || strings.Contains(patches[0].Text, "labels") || !strings.Contains(patches[1].Text, "="+value+`"`) {
			t.Errorf("%s: %+v, %v", name, patches, err)
		}
		patchedIsSame(t, s, list)
	}
}
