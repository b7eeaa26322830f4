package kubeadm_test

import (
	"testing"

	"hamigrate/migrate/kubeadm"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/remote/remotetest"
)

// TestCRISocket: a flag of the process, else the configuration file, and where
// no kubelet runs what it would be started with.
func TestCRISocket(t *testing.T) {
	t.Parallel()
	const process = "812\n/usr/bin/kubelet\n/usr/bin/kubelet\n--config=/etc/kubelet.yaml\n"
	for name, tt := range map[string]struct {
		running string
		files   map[string]string
		want    string
	}{
		"nothing is said": {"", nil, "unix:///run/containerd/containerd.sock"},
		"a flag": {process + "--container-runtime-endpoint=unix:///run/cri-dockerd.sock\n.\n", map[string]string{"/etc/kubelet.yaml": "containerRuntimeEndpoint: unix:///run/crio/crio.sock\n"},
			"unix:///run/cri-dockerd.sock"},
		"the file of a flag": {process + ".\n", map[string]string{"/etc/kubelet.yaml": "containerRuntimeEndpoint: \"unix:///run/crio/crio.sock\"\n", "/var/lib/kubelet/config.yaml": "containerRuntimeEndpoint: unix:///x\n"},
			"unix:///run/crio/crio.sock"},
		"an old flag file": {"", map[string]string{"/var/lib/kubelet/kubeadm-flags.env": "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/crio/crio.sock --pod-infra-container-image=x\"\n"},
			"unix:///run/crio/crio.sock"},
		"a path alone":  {"", map[string]string{"/var/lib/kubelet/config.yaml": "containerRuntimeEndpoint: /var/run/crio/crio.sock\n"}, "unix:///var/run/crio/crio.sock"},
		"an empty flag": {"", map[string]string{"/var/lib/kubelet/kubeadm-flags.env": "KUBELET_KUBEADM_ARGS=\"\"\n", "/var/lib/kubelet/config.yaml": "containerRuntimeEndpoint: \"\"\n"}, "unix:///run/containerd/containerd.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := remotetest.New("cp1")
			f.OnRun("", func(string, []byte) (string, error) { return tt.running, nil })
			for file, text := range tt.files {
				f.Put(remote.File{Path: file, Data: []byte(text)})
			}
			if got, err := kubeadm.CRISocket(t.Context(), f); got != tt.want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
