package measure

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hamigrate/migrate/runrecord"
)

// end stops the probes, keeps their figures and removes what they made. After
// an interruption (ctx has ended) the pods are left probing: the next run
// goes on with them, and nothing of the time between is lost. One that comes
// while the end is waited for ends that.
func (m *measurement) end(ctx context.Context) error {
	defer m.cut()
	m.stopWork()
	m.work.Wait()
	m.s.Access.UsePods(nil)
	if ctx.Err() != nil {
		m.leave(m.nodes.Nodes())
		return m.save(nil, nil)
	}
	release := context.AfterFunc(ctx, m.cut)
	defer release()
	m.probe.Stop()
	stopping, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	err := m.save(m.nodes.Stop(stopping))
	if err != nil {
		err = fmt.Errorf("fetching the last of what was measured (what was fetched before is kept): %w", err)
	}
	return errors.Join(err, m.removeNodes(ctx))
}

// giveUp takes back what was begun of a measurement. Pods of an earlier run
// may be among it: what they know is kept.
func (m *measurement) giveUp(ctx context.Context) error {
	m.s.Access.UsePods(nil)
	if m.nodes == nil {
		return nil
	}
	if ctx.Err() != nil {
		m.leave(m.places)
		return nil
	}
	stopping, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	records, err := m.nodes.Stop(stopping)
	return errors.Join(err, m.saved.Keep(m.j, records), m.removeNodes(ctx))
}

// leave says what an interrupted run does not take away.
func (m *measurement) leave(on []string) {
	if len(on) > 0 {
		m.Tell("the probe's pods are left on " + strings.Join(on, " and ") + " and stop in half an hour; the next `migrate run` goes on with them and removes them")
	}
}

func (m *measurement) removeNodes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if err := m.nodes.Close(ctx); err != nil {
		return fmt.Errorf("removing the probe's pods: %w", err)
	}
	m.saved.Left = false
	return m.j.PutBlob(runrecord.MeasurementsBlob, m.saved)
}
