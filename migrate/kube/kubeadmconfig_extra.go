package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	k8syaml "sigs.k8s.io/yaml"
)

// The fields of a component in kubeadm-config by which its manifest differs
// from kubeadm's own (kubeadm: apis/kubeadm/v1beta4, ControlPlaneComponent).
const (
	ExtraArgs    = "extraArgs"
	ExtraEnvs    = "extraEnvs"
	ExtraVolumes = "extraVolumes"
)

// ErrNotExpressible says that this version of kubeadm-config has no place for
// something that a static pod has.
var ErrNotExpressible = errors.New("kubeadm-config has no place for it")

// Edit names one entry of a component in kubeadm-config.
type Edit struct {
	Component Component `json:"component"`
	Field     string    `json:"field"` // ExtraArgs, ExtraEnvs or ExtraVolumes
	Name      string    `json:"name"`
}

func (e Edit) String() string {
	return fmt.Sprintf("%s.%s: %s", e.Component.Section(), e.Field, e.Name)
}

// asMap says that extraArgs are a map: v1beta3 has no place for a flag that is
// there twice, and none for variables.
func (c ClusterConfiguration) asMap() bool { return strings.HasSuffix(c.APIVersion(), "/v1beta3") }

// ExtraArgs lists a component's own flags.
func (c ClusterConfiguration) ExtraArgs(of Component) Flags {
	return flagsIn(child(child(c.top, of.Section()), ExtraArgs))
}

// flagsIn reads extraArgs: v1beta3's map, or v1beta4's list.
func flagsIn(args *yaml.Node) Flags {
	if args == nil {
		return nil
	}
	var out Flags
	if args.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(args.Content); i += 2 {
			out = append(out, Flag{args.Content[i].Value, args.Content[i+1].Value})
		}
		return out
	}
	for _, arg := range args.Content {
		out = append(out, Flag{value(child(arg, "name")), value(child(arg, "value"))})
	}
	return out
}

// Has says whether an entry is there.
func (c ClusterConfiguration) Has(e Edit) bool {
	args := child(child(c.top, e.Component.Section()), e.Field)
	if args == nil {
		return false
	}
	if args.Kind == yaml.MappingNode {
		return child(args, e.Name) != nil
	}
	return slices.ContainsFunc(args.Content, func(n *yaml.Node) bool { return value(child(n, "name")) == e.Name })
}

// addsUp are flags that take a list: given several times they mean the same as
// once with commas (pflag: StringSlice; component-base/cli/flag:
// MapStringBool, MapStringString, ConfigurationMap).
var addsUp = []string{"feature-gates", "runtime-config", "api-audiences", "enable-admission-plugins", "disable-admission-plugins",
	"oidc-required-claim", "oidc-signing-algs", "tls-cipher-suites", "controllers", "etcd-servers", "etcd-servers-overrides",
	"requestheader-allowed-names", "requestheader-username-headers", "requestheader-group-headers", "kubelet-preferred-address-types"}

// SetExtraArg gives a component a flag with these values. A map has one value a
// flag: several are joined where that is the same, and ErrNotExpressible where
// not.
func (c ClusterConfiguration) SetExtraArg(of Component, name string, values []string) error {
	if c.asMap() && len(values) > 1 {
		if !slices.Contains(addsUp, name) {
			return fmt.Errorf("--%s is there %d times, and %s takes it once: %w", name, len(values), c.APIVersion(), ErrNotExpressible)
		}
		values = []string{strings.Join(values, ",")}
	}
	args := c.field(of, ExtraArgs, c.asMap())
	if args.Kind == yaml.MappingNode {
		setChild(args, name, scalar(values[0]))
		return nil
	}
	var entries []*yaml.Node
	for _, v := range values {
		entries = append(entries, mapping("name", scalar(name), "value", scalar(v)))
	}
	setNamed(args, name, entries)
	return nil
}

// SetExtraEnv gives a component a variable.
func (c ClusterConfiguration) SetExtraEnv(of Component, env corev1.EnvVar) error {
	if c.asMap() {
		return fmt.Errorf("%s has no extraEnvs: %w", c.APIVersion(), ErrNotExpressible)
	}
	n, err := nodeOf(env)
	if err != nil {
		return err
	}
	setNamed(c.field(of, ExtraEnvs, false), env.Name, []*yaml.Node{n})
	return nil
}

// Volume is a folder or file of the host that a component mounts, as kubeadm
// can say it (kubeadm: apis/kubeadm/v1beta4, HostPathMount).
type Volume struct {
	Name      string `json:"name"`
	HostPath  string `json:"hostPath"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
	PathType  string `json:"pathType,omitempty"`
}

// SetExtraVolume gives a component a mount.
func (c ClusterConfiguration) SetExtraVolume(of Component, v Volume) error {
	n, err := nodeOf(v)
	if err != nil {
		return err
	}
	setNamed(c.field(of, ExtraVolumes, false), v.Name, []*yaml.Node{n})
	return nil
}

// Without is a copy that lacks some entries, and the lists and sections that are
// empty without them.
func (c ClusterConfiguration) Without(edits []Edit) ClusterConfiguration {
	out := c.Clone()
	for _, e := range edits {
		section := child(out.top, e.Component.Section())
		list := child(section, e.Field)
		switch {
		case list == nil:
		case list.Kind == yaml.MappingNode:
			removeChild(list, e.Name)
		default:
			setNamed(list, e.Name, nil)
		}
		if list != nil && len(list.Content) == 0 {
			removeChild(section, e.Field)
		}
	}
	return out
}

// Same says whether two mean the same, whatever the order of keys and the way
// they are written.
func (c ClusterConfiguration) Same(o ClusterConfiguration) bool {
	a, errA := k8syaml.YAMLToJSON([]byte(c.String()))
	b, errB := k8syaml.YAMLToJSON([]byte(o.String()))
	return errA == nil && errB == nil && withoutEmpty(string(a)) == withoutEmpty(string(b))
}

// withoutEmpty leaves out sections that hold nothing: `scheduler: {}` is the
// same as none.
func withoutEmpty(json string) string {
	for _, c := range Components() {
		json = strings.ReplaceAll(json, `"`+c.Section()+`":{},`, "")
		json = strings.ReplaceAll(json, `,"`+c.Section()+`":{}}`, "}")
	}
	return json
}

// Clone is a copy that can be changed on its own.
func (c ClusterConfiguration) Clone() ClusterConfiguration { return ClusterConfiguration{clone(c.top)} }

// SetKubernetesVersion sets it: for a scratch copy that is handed to kubeadm,
// which asks the internet where it is missing or a word like "stable".
func (c ClusterConfiguration) SetKubernetesVersion(v string) {
	setChild(c.top, "kubernetesVersion", scalar(v))
}

// field is a component's field, made where it is not there.
func (c ClusterConfiguration) field(of Component, name string, asMap bool) *yaml.Node {
	section := child(c.top, of.Section())
	if section == nil || section.Kind != yaml.MappingNode {
		section = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		setChild(c.top, of.Section(), section)
	}
	section.Style = 0 // `apiServer: {}` becomes a block
	field := child(section, name)
	if field == nil || field.Kind != yaml.MappingNode && field.Kind != yaml.SequenceNode || len(field.Content) == 0 {
		field = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if asMap {
			field = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		}
		setChild(section, name, field)
	}
	field.Style = 0
	return field
}

// setNamed puts entries where the first of that name stands, or at the end,
// and takes the others of that name out.
func setNamed(list *yaml.Node, name string, entries []*yaml.Node) {
	at := slices.IndexFunc(list.Content, func(n *yaml.Node) bool { return value(child(n, "name")) == name })
	kept := slices.DeleteFunc(slices.Clone(list.Content), func(n *yaml.Node) bool { return value(child(n, "name")) == name })
	if at < 0 {
		at = len(kept)
	}
	list.Content = slices.Insert(kept, min(at, len(kept)), entries...)
}

func mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i+1 < len(pairs); i += 2 {
		setChild(n, pairs[i].(string), pairs[i+1].(*yaml.Node))
	}
	return n
}

// nodeOf renders a value of Kubernetes' types as YAML.
func nodeOf(v any) (*yaml.Node, error) {
	text, err := k8syaml.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing it for kubeadm-config: %w", err)
	}
	return parseDocument(text)
}
