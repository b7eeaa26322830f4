package external

import "hamigrate/migrate"

// The steps of phase 2, as the journal knows them: an ID is never renamed.
const (
	addLearnerID     migrate.StepID = "etcd/add-learner"
	archiveDataID    migrate.StepID = "etcd/archive-data"
	binaryID         migrate.StepID = "etcd/binary"
	certificatesID   migrate.StepID = "etcd/certificates"
	kubeadmConfigID  migrate.StepID = "etcd/kubeadm-config"
	listenID         migrate.StepID = "etcd/listen"
	moveLeaderID     migrate.StepID = "etcd/move-leader"
	peerRelayID      migrate.StepID = "etcd/peer-relay"
	peerURLID        migrate.StepID = "etcd/peer-url"
	promoteID        migrate.StepID = "etcd/promote"
	removeMemberID   migrate.StepID = "etcd/remove-member"
	removeRelayID    migrate.StepID = "etcd/remove-relay"
	repointID        migrate.StepID = "etcd/repoint-apiserver"
	retireManifestID migrate.StepID = "etcd/retire-manifest"
	startMemberID    migrate.StepID = "etcd/start-member"
	unitID           migrate.StepID = "etcd/unit"
	userID           migrate.StepID = "etcd/user"
)
