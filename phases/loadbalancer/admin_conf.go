package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"hamigrate/internal/parallel"
	"hamigrate/migrate"
	"hamigrate/migrate/hostfiles"
	"hamigrate/phases"
)

const adminConfID = "loadbalancer/admin-conf"

// adminKubeconfigs are the first node's: super-admin.conf is only there from
// kubeadm 1.29 on. controller-manager.conf, scheduler.conf and kubelet.conf
// stay with the local API server: that is kubeadm's own rule.
var adminKubeconfigs = []string{phases.AdminConf, "/etc/kubernetes/super-admin.conf"}

// adminConf points the administrators' kubeconfigs to the endpoint.
func adminConf() phases.Step {
	return phases.Step{
		ID:     adminConfID,
		Title:  "Point admin.conf and super-admin.conf to the endpoint",
		Why:    "The file that is used when things break must not name one machine.",
		On:     migrate.FirstControlPlane,
		Needs:  []migrate.StepID{endpointID, endpointNameID},
		ByHand: "```\nsed -i 's#server: .*#server: https://{{.Endpoint}}#' /etc/kubernetes/admin.conf /etc/kubernetes/super-admin.conf\n```\n",
		Check: func(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
			return checkServers(ctx, v, adminKubeconfigs)
		},
		Apply: func(ctx context.Context, h phases.Writer, _ migrate.Before) error {
			for _, file := range adminKubeconfigs {
				if err := hostfiles.SetKubeconfigServer(ctx, h.On(h.Target()), file, h.EndpointURL()); err != nil {
					return err
				}
			}
			return nil
		},
		Verify: func(ctx context.Context, v phases.Reader) error {
			f, err := checkServers(ctx, v, adminKubeconfigs)
			if err != nil {
				return err
			}
			if f.Verdict != migrate.Satisfied {
				return errors.New(f.Reason)
			}
			return nil
		},
		Undo: func(ctx context.Context, h phases.Writer, before migrate.Before) error {
			_, err := serversBack(ctx, h, adminKubeconfigs, before)
			return err
		},
		Settle: 10 * time.Second,
	}
}

// checkServers compares the servers of kubeconfig files on the target with
// the endpoint. Before holds the old server of each file: the rest of the
// file is secret, and is not changed.
func checkServers(ctx context.Context, v phases.Reader, files []string) (migrate.Finding, error) {
	before := migrate.Before{}
	var changes []migrate.Change
	var names []string
	servers, there := make([]string, len(files)), make([]bool, len(files))
	err := parallel.Each(files, func(i int, file string) (err error) {
		servers[i], err = hostfiles.KubeconfigServer(ctx, v.On(v.Target()), file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		there[i] = err == nil
		return err
	})
	if err != nil {
		return migrate.Finding{}, err
	}
	for i, file := range files {
		if there[i] {
			before[file] = servers[i] // also of one that stays as it is
		}
		if server := servers[i]; there[i] && server != v.EndpointURL() {
			names = append(names, fmt.Sprintf("%s names %s", file, server))
			changes = append(changes, phases.ServerChange(v.Target()+":"+file, server, v.EndpointURL()))
		}
	}
	if len(names) == 0 {
		return phases.Done("they name %s", v.EndpointURL()), nil
	}
	f := phases.Need(before, "%s", strings.Join(names, ", "))
	f.Changes = changes
	return f, nil
}
