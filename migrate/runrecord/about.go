package runrecord

import "time"

// About is what the report tells of a run besides its steps.
type About struct {
	Cluster           string    `json:"cluster"`
	KubernetesVersion string    `json:"kubernetesVersion"`
	Strategy          string    `json:"strategy"`
	StartedAt         time.Time `json:"startedAt"`
	EtcdBytes         int64     `json:"etcdBytes"` // the old member's database, then
}

// AboutBlob is the journal's blob of it.
const AboutBlob = "about"
