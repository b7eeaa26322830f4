package kube

// LocalEtcdArgs are etcd.local.extraArgs, in either shape.
func (c ClusterConfiguration) LocalEtcdArgs() Flags {
	return flagsIn(child(child(child(c.top, "etcd"), "local"), ExtraArgs))
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
