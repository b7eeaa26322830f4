package kube

import "go.yaml.in/yaml/v3"

// LocalEtcdArgs are etcd.local.extraArgs, in either shape.
func (c ClusterConfiguration) LocalEtcdArgs() Flags {
	args := child(child(child(c.top, "etcd"), "local"), "extraArgs")
	if args == nil {
		return nil
	}
	var out Flags
	if args.Kind == yaml.MappingNode { // v1beta3
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

// LocalEtcdVariables are etcd.local.extraEnvs that have a value, NAME=value.
func (c ClusterConfiguration) LocalEtcdVariables() []string {
	envs := child(child(child(c.top, "etcd"), "local"), "extraEnvs")
	if envs == nil {
		return nil
	}
	var out []string
	for _, env := range envs.Content {
		out = append(out, value(child(env, "name"))+"="+value(child(env, "value")))
	}
	return out
}
