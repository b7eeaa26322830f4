package preflight

// fileChecks are about the files of a node: what is backed up, and what is carried along.
func fileChecks() []Check {
	return nil
}
