package playground

import (
	"fmt"
	"path/filepath"
)

// Paths on the first control-plane node.
const (
	caFile         = "/etc/kubernetes/pki/ca.crt"
	auditDir       = "/etc/kubernetes/audit"
	encryptionFile = "/etc/kubernetes/encryption/config.yaml"
)

// component is what kubeadm's configuration says of a static pod.
type component struct {
	Name    string // its key in ClusterConfiguration
	Args    []Argument
	Volumes []volume
}

// volume is an extraVolume, at the same path in the pod.
type volume struct {
	Name, Path string
	ReadOnly   bool
	Type       string // a hostPath's
}

// components are those that are to differ from what kubeadm makes.
func components(o Options) []component {
	api := component{Name: "apiServer", Args: o.APIServerArgs}
	for i, m := range o.APIServerMounts {
		v := volume{Name: fmt.Sprintf("like-%d", i), Path: m.Path, ReadOnly: m.ReadOnly, Type: "Directory"}
		if m.File {
			v.Type = "File"
		}
		api.Volumes = append(api.Volumes, v)
	}
	if o.Hardened {
		api.harden(o.veteran())
	}
	manager, scheduler := component{Name: "controllerManager"}, component{Name: "scheduler"}
	if o.veteran() {
		// Whoever made it wanted the logs in local time.
		localtime := volume{Name: "localtime", Path: "/etc/localtime", ReadOnly: true, Type: "File"}
		for _, c := range []*component{&api, &manager, &scheduler} {
			c.Volumes = append(c.Volumes, localtime)
		}
	} else {
		// The pods' networks are laid out by hand, a route a node.
		manager.Args = []Argument{{Name: "allocate-node-cidrs", Value: "false"}}
	}
	var some []component
	for _, c := range []component{api, manager, scheduler} {
		if len(c.Args)+len(c.Volumes) > 0 {
			some = append(some, c)
		}
	}
	return some
}

// harden adds an audit policy and encryption at rest. The veteran's audit log
// lies beside the policy, in one folder that the API server writes to.
func (c *component) harden(veteran bool) {
	log := "/var/log/kubernetes/audit.log"
	if veteran {
		log = auditDir + "/logs/audit.log"
	}
	c.Args = append(c.Args[:len(c.Args):len(c.Args)],
		Argument{"audit-policy-file", auditDir + "/policy.yaml"},
		Argument{"audit-log-path", log},
		Argument{"encryption-provider-config", encryptionFile})
	if veteran {
		c.Args = append(c.Args, Argument{"audit-log-maxsize", "100"}, Argument{"authentication-config", authentication})
		c.Volumes = append(c.Volumes,
			volume{"audit", auditDir, false, "DirectoryOrCreate"},
			volume{"authentication", filepath.Dir(authentication), true, "Directory"})
	} else {
		c.Volumes = append(c.Volumes,
			volume{"audit-policy", auditDir, true, "Directory"},
			volume{"audit-log", filepath.Dir(log), false, "DirectoryOrCreate"})
	}
	c.Volumes = append(c.Volumes, volume{"encryption", filepath.Dir(encryptionFile), true, "Directory"})
}
