package simulator

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"hamigrate/migrate/kube"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// How long the kubelet and what it runs take.
const (
	podNotice  = 2 * time.Second // until a changed manifest ends the old process
	podStart   = 3 * time.Second // from there to the new process
	podBackOff = 10 * time.Second
	// mirrorWait is added where the API server hangs because it has lost its
	// etcd: before the kubelet starts the new pod it deletes the mirror of the
	// old one, and gives that up after 34 s. An API server that is gone
	// refuses at once. On real nodes etcd ran again 45 to 48 s after the edit
	// of its manifest.
	mirrorWait = 42 * time.Second
	nodeReady  = 15 * time.Second // from the kubelet's start
	nodeGrace  = 40 * time.Second // without a lease: kube-controller-manager's --node-monitor-grace-period
	leaseEvery = 10 * time.Second
)

// settlePods brings the static pods of a host to what its folder says.
func (h *Host) settlePods(now time.Time) {
	want := map[string]string{}
	if h.active("kubelet.service") {
		names, err := h.Fake.List(h.world.ctx, kube.ManifestsDir)
		if err == nil {
			for _, n := range names {
				if !strings.HasPrefix(n, ".") {
					want[n] = h.read(path.Join(kube.ManifestsDir, n))
				}
			}
		}
	}
	all := maps.Clone(want)
	for n := range h.pods {
		all[n] = ""
	}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		text, wanted := want[n]
		if pod := h.pods[n]; pod != nil {
			h.endTold(n, pod, now)
			h.endPod(n, h.pods[n], text, wanted, now)
		} else if wanted {
			h.pods[n] = &staticPod{text: text, startAt: now.Add(podStart)}
		}
		if pod := h.pods[n]; pod != nil && pod.proc == nil && !now.Before(pod.startAt) {
			h.startPod(n, pod)
		}
	}
}

// settleMirrors keeps the mirror of the etcd pod, by which the kubelets say
// that they have one; those of other static pods are of no interest here.
func (w *World) settleMirrors() {
	for _, h := range w.all() {
		key := objectKey{"pods", "kube-system", "etcd-" + h.Name()}
		has, mirrored := h.pods["etcd.yaml"] != nil, w.objects.items[key] != nil
		switch {
		case w.node(h.Name()) == nil:
		case has && !mirrored:
			pod := readyPod(key.name, h.Name(), map[string]string{"component": "etcd"})
			pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "1"}
			w.must(w.create("pods", pod))
		case !has && mirrored:
			w.must(w.delete("pods", key.namespace, key.name))
		}
	}
}

// endPod ends a pod whose manifest is gone or differs, in its time.
func (h *Host) endPod(name string, pod *staticPod, text string, wanted bool, now time.Time) {
	if pod.endAt.IsZero() && (!wanted || text != pod.text) {
		pod.endAt = now.Add(podNotice)
	}
	if pod.endAt.IsZero() || now.Before(pod.endAt) {
		return
	}
	h.world.resign(pod)
	h.neverCut(pod)
	h.neverNeeded(name)
	h.stop(pod.proc)
	delete(h.pods, name)
	if wanted {
		start := pod.endAt.Add(podStart)
		if pod.proc != nil && h.apiHangs() {
			start = start.Add(mirrorWait)
		}
		h.pods[name] = &staticPod{text: text, startAt: start}
	}
}

// startPod starts a pod's process; what can't start is tried again later.
func (h *Host) startPod(name string, pod *staticPod) {
	pod.ready = pod.startAt
	proc, err := h.runManifest(name, pod)
	if err != nil {
		h.journal = append(h.journal, fmt.Sprintf("%s: %v", name, err))
		pod.startAt = time.Now().Add(podBackOff)
		return
	}
	pod.proc = proc
	proc.started = pod.startAt
	if proc.name == apiComm {
		pod.ready = pod.startAt.Add(apiStart)
		h.reloadServing(pod)
	}
}

// parsedPod is a parsed manifest, which nobody changes.
type parsedPod struct {
	corev1.Pod
	err error
}

func (m *memo) pod(text string) (corev1.Pod, error) {
	read := memoized(&m.pods, text, func() (out parsedPod) {
		out.err = yaml.Unmarshal([]byte(text), &out.Pod)
		return out
	})
	return read.Pod, read.err
}

func (h *Host) runManifest(name string, pod *staticPod) (*process, error) {
	p, err := h.world.memo.pod(pod.text)
	if err != nil || len(p.Spec.Containers) == 0 {
		return nil, fmt.Errorf("%s is no manifest", name)
	}
	for _, v := range p.Spec.Volumes {
		if err := h.mountable(v.HostPath); err != nil {
			return nil, err
		}
	}
	argv := append(append([]string{}, p.Spec.Containers[0].Command...), p.Spec.Containers[0].Args...)
	exe := "/usr/local/bin/" + argv[0]
	switch argv[0] {
	case "kube-apiserver":
		if err := h.world.mayServe(h, flags(argv)); err != nil {
			return nil, err
		}
	case "etcd":
		proc, err := h.world.bootMember(h, name, exe, argv, nil)
		if err == nil {
			root := fmt.Sprintf("/proc/%d/root", proc.pid)
			h.put(root+exe, etcdProgram+etcdVersionNumber+"\n", 0o755, "root:root")
			h.put(root+exe+"ctl", "\x7fELF etcdctl\n", 0o755, "root:root")
		}
		return proc, err
	}
	return h.start(argv[0][:min(15, len(argv[0]))], exe, argv), nil
}

// settleKubelet keeps the kubelet's connection, its lease and its node.
func (h *Host) settleKubelet(now time.Time) {
	if !h.active("kubelet.service") {
		return
	}
	k := &h.kubelet
	if k.server == "" {
		k.server = serverOf(h.read("/etc/kubernetes/kubelet.conf"))
		k.lastSeen = now
	}
	w := h.world
	unreached := w.reachAt(h, k.server, k.peer)
	if u, err := url.Parse(k.server); err == nil && unreached != nil {
		k.peer = h.resolve(u.Hostname()) // a name is asked for with each new connection only
		unreached = w.reachAt(h, k.server, k.peer)
	}
	if unreached == nil {
		k.lastSeen = now
		if lease := w.lease(h.Name()); lease != nil {
			n := now.Sub(k.started) / leaseEvery
			lease.Spec.RenewTime = micro(k.started.Add(n*leaseEvery + 300*time.Millisecond))
		}
	}
	if node := w.node(h.Name()); node != nil {
		ready := now.Sub(k.started) >= nodeReady || node.CreationTimestamp.Time.Before(k.started.Add(-nodeGrace))
		setReady(node, ready && now.Sub(k.lastSeen) < nodeGrace)
	}
}

// settleDead marks nodes whose kubelet has stopped.
func (h *Host) settleDead(now time.Time) {
	if node := h.world.node(h.Name()); node != nil && !h.active("kubelet.service") && now.Sub(h.kubelet.lastSeen) >= nodeGrace {
		setReady(node, false)
	}
}
