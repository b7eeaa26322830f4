package simulator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"hamigrate/migrate/kube"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

// componentConfiguration is what kubeadm-config says of one of the three.
type componentConfiguration struct {
	ExtraArgs    any             `json:"extraArgs"`
	ExtraVolumes []extraVolume   `json:"extraVolumes"`
	ExtraEnvs    []corev1.EnvVar `json:"extraEnvs"`
}

type extraVolume struct {
	Name      string `json:"name"`
	HostPath  string `json:"hostPath"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly"`
	PathType  string `json:"pathType"`
}

// args reads both shapes, in their order: a map is sorted by name.
func (c componentConfiguration) args() kube.Flags {
	var out kube.Flags
	switch args := c.ExtraArgs.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(args)) {
			out = append(out, kube.Flag{Name: k, Value: fmt.Sprint(args[k])})
		}
	case []any:
		for _, arg := range args {
			if m, ok := arg.(map[string]any); ok {
				out = append(out, kube.Flag{Name: fmt.Sprint(m["name"]), Value: fmt.Sprint(m["value"])})
			}
		}
	}
	return out
}

// command is a program with kubeadm's flags by name, and then those of
// kubeadm-config, which take the place of all of the same name
// (kubeadm: util/arguments.go, ArgumentsToCommand).
func (c componentConfiguration) command(program string, base map[string]string) []string {
	out := []string{program}
	extra := c.args()
	for _, k := range slices.Sorted(maps.Keys(base)) {
		if len(extra.All(k)) == 0 {
			out = append(out, "--"+k+"="+base[k])
		}
	}
	for _, f := range extra {
		out = append(out, "--"+f.Name+"="+f.Value)
	}
	return out
}

// volumes are kubeadm's and those of kubeadm-config, which take the place of
// one of the same name.
func (c componentConfiguration) volumes(base ...extraVolume) []extraVolume {
	byName := map[string]extraVolume{}
	for _, v := range append(base, c.ExtraVolumes...) {
		byName[v.Name] = v
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b extraVolume) int { return cmp.Compare(a.Name, b.Name) })
}

// renderManifests is `kubeadm init phase control-plane all --dry-run`: the three
// manifests below the folder that the environment names.
func (p program) renderManifests(file string) error {
	node, cc, err := p.configuration(file)
	if err != nil {
		return err
	}
	dir := p.Env.Get("KUBEADM_INIT_DRYRUN_DIR").String()
	if dir == "" {
		dir = "/etc/kubernetes/tmp/kubeadm-init-dryrun"
	}
	if cc.KubernetesVersion == "" {
		p.host.world.never("kubeadm asked the internet for a version")
	}
	for name, text := range controlPlaneManifests(cc, node.LocalAPIEndpoint.AdvertiseAddress) {
		if text, err = p.host.patched(p.ctx, p.abs(node.Patches.Directory), name, text); err != nil {
			return err
		}
		p.host.put(path.Join(p.abs(dir), name), text, 0o600, "root:root")
	}
	return nil
}

// patched applies the files of a patches folder to a manifest, in the order of
// their names (kubeadm: util/patches).
func (h *Host) patched(ctx context.Context, dir, name, text string) (string, error) {
	target := strings.TrimSuffix(name, ".yaml")
	for _, file := range h.below(ctx, dir) {
		base := path.Base(file)
		if !strings.HasPrefix(base, target) {
			continue
		}
		patch, err := yaml.YAMLToJSON([]byte(h.read(file)))
		if err != nil {
			return "", err
		}
		data, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			return "", err
		}
		switch {
		case strings.Contains(base, "+json"):
			p, err := jsonpatch.DecodePatch(patch)
			if err != nil {
				return "", err
			}
			if data, err = p.Apply(data); err != nil {
				return "", err
			}
		case strings.Contains(base, "+merge"):
			if data, err = jsonpatch.MergePatch(data, patch); err != nil {
				return "", err
			}
		default:
			if data, err = strategicpatch.StrategicMergePatch(data, patch, corev1.Pod{}); err != nil {
				return "", err
			}
		}
		out, err := yaml.JSONToYAML(data)
		if err != nil {
			return "", err
		}
		text = string(out)
	}
	return text, nil
}

// below lists the files of a folder.
func (h *Host) below(ctx context.Context, dir string) []string {
	entries, err := (&session{host: h}).readDir(ctx, dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, path.Join(dir, e.Name()))
	}
	slices.Sort(out)
	return out
}
