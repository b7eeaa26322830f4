package preflight

// etcdUseChecks are about the old etcd: what must not outlive it, and who else uses it.
func etcdUseChecks() []Check {
	return nil
}
