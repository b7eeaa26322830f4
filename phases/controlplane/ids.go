package controlplane

import "hamigrate/migrate"

// The steps of phase 3, as the journal knows them: an ID is never renamed.
const (
	coreDNSID       migrate.StepID = "controlplane/coredns"
	hostFilesID     migrate.StepID = "controlplane/host-files"
	joinID          migrate.StepID = "controlplane/join"
	kubeadmConfigID migrate.StepID = "controlplane/kubeadm-config"
	withoutFirstID  migrate.StepID = "controlplane/without-first"
)
