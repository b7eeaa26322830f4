package run

import (
	"context"
	"errors"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/runrecord"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/state"
)

// describeCluster ties the journal to the cluster and keeps what the report
// needs; a resumed run keeps its first start.
func describeCluster(ctx context.Context, s *Session, j *state.Journal, id, kubernetes string, strategy phases.Strategy) error {
	if err := j.BindCluster(id); err != nil {
		return err
	}
	if begun, err := described(j); err != nil || begun {
		return err
	}
	size, err := etcdSize(ctx, s.Access.Reader(migrate.ClusterTarget))
	if err != nil {
		return err
	}
	return j.PutBlob(runrecord.AboutBlob, runrecord.About{Cluster: s.Spec.Name, KubernetesVersion: kubernetes, Strategy: string(strategy), StartedAt: time.Now().UTC(), EtcdBytes: size})
}

// described says whether the journal has what the report tells of a run. What
// a run wrote that was declined or refused before a phase began is no start.
func described(j *state.Journal) (bool, error) {
	var a runrecord.About
	if known, err := j.GetBlob(runrecord.AboutBlob, &a); err != nil || !known {
		return false, err
	}
	for _, p := range migration.Phases(phases.Overlap) {
		if known, err := j.Phase(p.Number); err != nil || !known.Begun.IsZero() {
			return true, err
		}
	}
	return false, nil
}

// etcdSize is how big the database is, in bytes; any member's will do.
func etcdSize(ctx context.Context, v phases.Reader) (int64, error) {
	e, err := v.Etcd(ctx)
	if err != nil {
		return 0, err
	}
	return firstAnswer(e.Hosts(), func(host string) (int64, error) {
		s, err := e.Status(ctx, host)
		return s.DBSize, err
	})
}

// firstAnswer is the answer of the first member that gives one; the error has those
// of all.
func firstAnswer(hosts []string, ask func(host string) (int64, error)) (int64, error) {
	failed := []error{errors.New("reading the size of etcd's database: no member answers")}
	for _, host := range hosts {
		size, err := ask(host)
		if err == nil {
			return size, nil
		}
		failed = append(failed, err)
	}
	return 0, errors.Join(failed...)
}

// identity is what ties a plan to one cluster.
func identity(ctx context.Context, s *Session) (id, version string, err error) {
	k, err := s.Access.Reader(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return "", "", err
	}
	if id, err = k.Identity(ctx); err != nil {
		return "", "", err
	}
	version, err = k.Version()
	return id, version, err
}

// sameCluster refuses a journal of another cluster.
func sameCluster(ctx context.Context, s *Session, j *state.Journal) error {
	k, err := s.Access.Reader(migrate.ClusterTarget).Kube(ctx)
	if err != nil {
		return err
	}
	id, err := k.Identity(ctx)
	if err != nil {
		return err
	}
	return j.BindCluster(id)
}
