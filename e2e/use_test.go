package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// createThrough makes a Secret and a Deployment through one API server.
func createThrough(t *testing.T, s *scenario, name, object string) error {
	t.Helper()
	c := s.pg.kubeAnew(t, s.pg.api(name))
	_, err := c.CoreV1().Secrets(namespace).Create(soon(t), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: object, Namespace: namespace}, StringData: map[string]string{"word": object},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) { // there already: of a look before a way back
		return err
	}
	_, err = c.AppsV1().Deployments(namespace).Create(soon(t),
		workload(object, kubeProxyImage(t, c), 1, "exec sleep infinity"), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// readThrough reads them through another; the Deployment's pod runs, too.
func readThrough(ctx context.Context, s *scenario, c *kubernetes.Clientset, object string) error {
	secret, err := c.CoreV1().Secrets(namespace).Get(ctx, object, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if got := string(secret.Data["word"]); got != object {
		return fmt.Errorf("the Secret %s holds %q", object, got)
	}
	return deploymentReady(ctx, c, namespace, object)
}

// tokenWorks asks an API server who the bearer of a token is.
func tokenWorks(ctx context.Context, config *rest.Config, token string) error {
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = token
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	who, err := c.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if want := "system:serviceaccount:" + namespace + ":client"; who.Status.UserInfo.Username != want {
		return fmt.Errorf("its bearer is %s, not %s", who.Status.UserInfo.Username, want)
	}
	return nil
}

// writtenByProgram is everything that the program has printed or kept here.
func writtenByProgram(t *testing.T, s *scenario) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.out, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s: %v", s.out, err)
	}
	all := map[string]string{}
	for _, f := range append(files, s.journal) {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(f)] = string(data)
	}
	return all
}

var discovery = regexp.MustCompile(`--token (\S+) --discovery-token-ca-cert-hash \S+`)

// withDiscoveryFile changes a join command for a cluster that tells strangers
// nothing: what the node would ask for is given to it in a file, with the
// token, since even the question is answered 401 otherwise, and kubeadm goes on
// without the answer only when it is 403 (kubeadm: discovery/file/file.go).
func (s *scenario) withDiscoveryFile(t *testing.T, command string) string {
	t.Helper()
	token := discovery.FindStringSubmatch(command)
	if token == nil {
		t.Fatal("kubeadm's join command has no token, or not where it was")
	}
	config, err := clientcmd.Load([]byte(clusterInfo(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	for _, cluster := range config.Clusters {
		config.Clusters = map[string]*clientcmdapi.Cluster{"it": cluster}
	}
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{"new": {Token: token[1]}}
	config.Contexts = map[string]*clientcmdapi.Context{"new": {Cluster: "it", AuthInfo: "new"}}
	config.CurrentContext = "new"
	file, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return "umask 077; cat > /run/discovery.conf <<'END'\n" + string(file) + "END\n" + discovery.ReplaceAllString(
		strings.Replace(command, s.pg.endpoint()+" ", "", 1), "--discovery-file /run/discovery.conf") + "; code=$?; rm -f /run/discovery.conf; exit $code"
}

// newWorkerJoins lets the second control-plane node invite a host that was
// not there before, and the host come in through the endpoint.
func newWorkerJoins(t *testing.T, s *scenario) {
	p := s.pg
	command := strings.TrimSpace(p.hosts["cp2"].must(t, "KUBECONFIG=/etc/kubernetes/admin.conf kubeadm token create --print-join-command --ttl 15m 2>/dev/null"))
	if !strings.HasPrefix(command, "kubeadm join "+p.endpoint()+" ") {
		t.Fatalf("kubeadm on cp2 invites with %q, which does not name the endpoint", strings.SplitN(command, "--token", 2)[0])
	}
	join := p.spec.Spec.ControlPlane.Join
	command += " --patches " + join.Patches
	if len(join.IgnorePreflightErrors) > 0 {
		command += " --ignore-preflight-errors " + strings.Join(join.IgnorePreflightErrors, ",")
	}
	p.hosts["w3"].mustWithin(t, 4*time.Minute, s.withDiscoveryFile(t, command))
	c := p.kube(t, p.endpoint())
	eventually(t, 2*time.Minute, "the new worker", func(ctx context.Context) error {
		if err := nodeReady(ctx, c, "w3"); err != nil {
			return err
		}
		for _, process := range []string{"kubelet", "kube-proxy"} {
			if err := p.hosts["w3"].talksOnlyTo(ctx, process, p.reach(p.endpoint()), 6443); err != nil {
				return err
			}
		}
		return nil
	})
}

// kubeadmUpgrade asks kubeadm what it makes of this cluster: its health
// checks pass, and rendered again from kubeadm-config the manifests are what
// they are, but for the version.
func kubeadmUpgrade(t *testing.T, s *scenario) {
	now, next := "v"+s.kubernetes, "v"+nextPatch(t, s.kubernetes)
	cp1 := s.pg.hosts["cp1"]
	cp1.mustWithin(t, 2*time.Minute, "kubeadm upgrade plan "+now)
	c := s.pg.kube(t, s.pg.endpoint())
	if err := poll(t.Context(), settle, func(ctx context.Context) error { return healthJobDone(ctx, c) }); err != nil {
		t.Errorf("kubeadm's health job: %v", err)
	}
	plan := cp1.mustWithin(t, 2*time.Minute, "kubeadm upgrade plan "+next)
	if !strings.Contains(plan, "kubeadm upgrade apply "+next) {
		t.Errorf("kubeadm upgrade plan %s does not offer the upgrade:\n%s", next, tail(plan, 30))
	}
	for _, name := range controlPlanes() {
		diff := s.pg.hosts[name].mustWithin(t, time.Minute, "kubeadm upgrade diff "+next+" 2>/dev/null")
		components := map[string]int{}
		for _, line := range moved(diff) {
			// On the node whose manifests were edited by hand, see withoutProbeHosts.
			if name == "cp1" && strings.TrimSpace(line) == "-        host: 127.0.0.1" {
				continue
			}
			image, isImage := strings.CutPrefix(strings.TrimSpace(line[1:]), "image: ")
			component, version, _ := strings.Cut(filepath.Base(image), ":")
			if want := map[byte]string{'-': now, '+': next}[line[0]]; !isImage || version != want {
				t.Errorf("kubeadm upgrade diff on %s would change more than the version: %s", name, line)
			}
			components[component]++
		}
		for _, c := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			if components[c] != 2 {
				t.Errorf("kubeadm upgrade diff on %s shows %d lines of %s, not the version before and after:\n%s", name, components[c], c, diff)
			}
		}
	}
}

// moved lists the lines of a diff that only one side has. Those that kubeadm
// puts in another order than whoever edited the manifest are on both, and a
// comment is nobody's setting.
func moved(diff string) []string {
	count := map[string]int{}
	for line := range strings.Lines(diff) {
		text := strings.TrimSpace(line)
		if strings.HasPrefix(text, "---") || strings.HasPrefix(text, "+++") || text == "" || strings.HasPrefix(strings.TrimSpace(text[1:]), "#") {
			continue
		}
		switch line[0] {
		case '-':
			count[line[1:]]--
		case '+':
			count[line[1:]]++
		}
	}
	var out []string
	for _, text := range sortedKeys(count) {
		for range -count[text] {
			out = append(out, "-"+text)
		}
		for range count[text] {
			out = append(out, "+"+text)
		}
	}
	return out
}

// healthJobDone looks for the end of the Job that kubeadm starts to see that
// the cluster runs Pods. kubeadm removes the Job, its events stay.
func healthJobDone(ctx context.Context, c kubernetes.Interface) error {
	list, err := c.CoreV1().Events("kube-system").List(ctx, metav1.ListOptions{FieldSelector: "reason=Completed,involvedObject.kind=Job"})
	if err != nil {
		return err
	}
	for _, e := range list.Items {
		if strings.HasPrefix(e.InvolvedObject.Name, "upgrade-health-check") {
			return nil
		}
	}
	return fmt.Errorf("no event says that a Job upgrade-health-check completed, among %d of completed Jobs", len(list.Items))
}

// nextPatch is the patch version after this one.
func nextPatch(t *testing.T, version string) string {
	t.Helper()
	i := strings.LastIndex(version, ".")
	patch, err := strconv.Atoi(version[i+1:])
	if err != nil {
		t.Fatalf("KUBERNETES=%s is no version", version)
	}
	return version[:i+1] + strconv.Itoa(patch+1)
}
