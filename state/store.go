package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Advance moves a step on a target on by one event and writes the record and
// its log entry in one transaction. It returns the record as it now stands on
// disk. With an error nothing was written: *TransitionError for an event that
// cannot happen, ErrReadOnly, or the file system's error.
func (j *Journal) Advance(k Key, c Change) (Record, error) {
	var next Record
	err := j.update(func(tx *bolt.Tx) error {
		key, err := k.encode()
		if err != nil {
			return err
		}
		records, log := tx.Bucket([]byte(bucketRecords)), tx.Bucket([]byte(bucketLog))
		now, ok, err := get[Record](records, key)
		if err != nil {
			return err
		}
		if !ok {
			now = Record{Key: k, Status: Pending}
		}
		seq, err := log.NextSequence()
		if err != nil {
			return fmt.Errorf("numbering a log entry: %w", err)
		}
		at := j.now()
		next, err = now.advance(c, at, seq)
		if err != nil {
			return err
		}
		if err := put(records, key, next); err != nil {
			return err
		}
		return put(log, number(seq), LogEntry{Seq: seq, At: at, Key: k, From: now.Status, To: next.Status, Note: c.Note})
	})
	if err != nil {
		return Record{}, err
	}
	return next, nil
}

// Record returns the record of a step on a target; Pending when there is none.
func (j *Journal) Record(k Key) (Record, error) {
	rec := Record{Key: k, Status: Pending}
	err := j.view(func(tx *bolt.Tx) error {
		key, err := k.encode()
		if err != nil {
			return err
		}
		found, ok, err := get[Record](tx.Bucket([]byte(bucketRecords)), key)
		if ok {
			rec = found
		}
		return err
	})
	return rec, err
}

// Records returns the records of a phase in the order in which the steps were
// first begun (see Record.Order).
func (j *Journal) Records(phase int) ([]Record, error) {
	var recs []Record
	err := j.view(func(tx *bolt.Tx) error {
		prefix := phasePrefix(phase)
		c := tx.Bucket([]byte(bucketRecords)).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			var r Record
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("decoding journal record %q: %w", k, err)
			}
			recs = append(recs, r)
		}
		return nil
	})
	slices.SortFunc(recs, func(a, b Record) int { return cmp.Compare(a.Order, b.Order) })
	return recs, err
}

// Log returns the whole history, oldest first.
func (j *Journal) Log() ([]LogEntry, error) { return list[LogEntry](j, bucketLog) }

// Runs returns all runs, oldest first.
func (j *Journal) Runs() ([]Run, error) { return list[Run](j, bucketRuns) }

// BeginRun notes that a run of a phase begins. The returned function notes
// its end with a result ("done", or why not); completed says that no step of
// the phase is left, which is noted in the same transaction.
func (j *Journal) BeginRun(phase int) (end func(result string, completed bool) error, err error) {
	run := Run{Phase: phase, Who: WhoAmI(), Tool: j.tool, Start: j.now()}
	err = j.update(func(tx *bolt.Tx) (err error) {
		b := tx.Bucket([]byte(bucketRuns))
		if run.ID, err = b.NextSequence(); err != nil {
			return fmt.Errorf("numbering a run: %w", err)
		}
		return put(b, number(run.ID), run)
	})
	if err != nil {
		return nil, err
	}
	return func(result string, completed bool) error {
		run.End, run.Result = j.now(), result
		return j.update(func(tx *bolt.Tx) error { return endRun(tx, run, completed) })
	}, nil
}

func endRun(tx *bolt.Tx, run Run, completed bool) error {
	if err := put(tx.Bucket([]byte(bucketRuns)), number(run.ID), run); err != nil || !completed {
		return err
	}
	phases, key := tx.Bucket([]byte(bucketPhases)), number(uint64(run.Phase))
	p, begun, err := get[Phase](phases, key)
	if err != nil || !begun || !p.Completed.IsZero() {
		return err
	}
	p.Completed = run.End
	return put(phases, key, p)
}

// Phase returns what is known of a phase; the zero Phase when it was never
// begun.
func (j *Journal) Phase(phase int) (Phase, error) {
	var p Phase
	err := j.view(func(tx *bolt.Tx) (err error) {
		p, _, err = get[Phase](tx.Bucket([]byte(bucketPhases)), number(uint64(phase)))
		return err
	})
	return p, err
}

// BeginPhase notes the fingerprints (of the spec and of the step list) and the
// choice that a phase is begun with or, once completed, begun again with. The
// phase is not complete from then on.
func (j *Journal) BeginPhase(phase int, spec, declaration string, choice map[string]string) error {
	return j.update(func(tx *bolt.Tx) error {
		p := Phase{Spec: spec, Declaration: declaration, Choice: choice, Tool: j.tool, Begun: j.now()}
		return put(tx.Bucket([]byte(bucketPhases)), number(uint64(phase)), p)
	})
}

// BindCluster ties the journal to a cluster: the first identity (such as the
// UID of the kube-system namespace) is kept, another one is a *ClusterError.
func (j *Journal) BindCluster(identity string) error {
	known, err := j.Cluster()
	switch {
	case err != nil:
		return err
	case known == identity:
		return nil
	case known != "":
		return &ClusterError{Path: j.path, Want: known, Got: identity}
	}
	return j.update(func(tx *bolt.Tx) error {
		return put(tx.Bucket([]byte(bucketMeta)), []byte(metaCluster), identity)
	})
}

// Cluster returns the identity of the cluster that the journal belongs to;
// empty when it was never bound.
func (j *Journal) Cluster() (string, error) {
	var id string
	err := j.view(func(tx *bolt.Tx) (err error) {
		id, _, err = get[string](tx.Bucket([]byte(bucketMeta)), []byte(metaCluster))
		return err
	})
	return id, err
}

// PutBlob keeps a small value under a name, as JSON; one that was there is
// replaced. It holds no secret.
func (j *Journal) PutBlob(name string, v any) error {
	return j.update(func(tx *bolt.Tx) error { return put(tx.Bucket([]byte(bucketBlobs)), []byte(name), v) })
}

// ForgetPhase deletes the records of a phase and keeps a value as PutBlob does,
// in one transaction. It is for a phase that is done again and again, each time
// for something else: what an earlier one has done is no longer to be taken
// back. The log stays whole.
func (j *Journal) ForgetPhase(phase int, blob string, v any) error {
	return j.update(func(tx *bolt.Tx) error {
		prefix := phasePrefix(phase)
		var keys [][]byte // a cursor is not to be moved on by what it deletes
		c := tx.Bucket([]byte(bucketRecords)).Cursor()
		for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k))
		}
		for _, k := range keys {
			if err := tx.Bucket([]byte(bucketRecords)).Delete(k); err != nil {
				return fmt.Errorf("deleting journal record %q: %w", k, err)
			}
		}
		return put(tx.Bucket([]byte(bucketBlobs)), []byte(blob), v)
	})
}

// GetBlob decodes the value of that name into v; ok is false, and v left
// alone, when there is none.
func (j *Journal) GetBlob(name string, v any) (ok bool, err error) {
	err = j.view(func(tx *bolt.Tx) error {
		data := tx.Bucket([]byte(bucketBlobs)).Get([]byte(name))
		if data == nil {
			return nil
		}
		ok = true
		return json.Unmarshal(data, v)
	})
	if err != nil {
		return false, fmt.Errorf("reading %q from the journal: %w", name, err)
	}
	return ok, nil
}

func list[T any](j *Journal, bucket string) ([]T, error) {
	var all []T
	err := j.view(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
			var one T
			if err := json.Unmarshal(v, &one); err != nil {
				return fmt.Errorf("decoding entry %x of %s: %w", k, bucket, err)
			}
			all = append(all, one)
			return nil
		})
	})
	return all, err
}

// encode makes the key of a record. NUL separates, so that "a" + "b/c" and
// "a/b" + "c" differ.
func (k Key) encode() ([]byte, error) {
	if k.Step == "" || k.Target == "" || strings.Contains(k.Step+k.Target, "\x00") {
		return nil, fmt.Errorf("journal key needs a step and a target without NUL: %+q and %+q", k.Step, k.Target)
	}
	return append(phasePrefix(k.Phase), k.Step+"\x00"+k.Target...), nil
}

func phasePrefix(phase int) []byte { return fmt.Appendf(nil, "%04d\x00", phase) }

// number makes a key that sorts as the number does.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
