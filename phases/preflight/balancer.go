package preflight

// balancerChecks are about the load balancer's hosts: what nginx will say of the configuration that phase 1 writes.
func balancerChecks() []Check {
	return nil
}
