package restore

import "hamigrate/migrate"

// The steps of a restore, as the journal knows them: an ID is never renamed.
const (
	stopControlPlaneID migrate.StepID = "restore/stop-control-plane"
	stopEtcdID         migrate.StepID = "restore/stop-etcd"
	setAsideID         migrate.StepID = "restore/set-aside"
	uploadID           migrate.StepID = "restore/upload"
	memberID           migrate.StepID = "restore/member"
	startID            migrate.StepID = "restore/start-etcd"
	masterLeasesID     migrate.StepID = "restore/masterleases"
	apiServerID        migrate.StepID = "restore/api-server"
	controllersID      migrate.StepID = "restore/controllers"
	kubeletsID         migrate.StepID = "restore/kubelets"
	kubeProxyID        migrate.StepID = "restore/kube-proxy"
	coreDNSID          migrate.StepID = "restore/coredns"
	proveID            migrate.StepID = "restore/prove"
	cleanUpID          migrate.StepID = "restore/clean-up"
)
