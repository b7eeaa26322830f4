package e2e

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scenario is what the stages hand on to each other.
type scenario struct {
	config
	bin     *binary
	pg      *playground
	canary  *canary
	journal string
	spec    string     // another spec file than the playground's, where set
	top     *testing.T // the whole test, to know whether any stage failed

	before before
	alone  bool // cp1 is the only control-plane node, before and after
	// powerCuts: hosts lose their power on the way.
	powerCuts bool
	writers   []*writer
	// streamFile is where the load balancer passes the API through.
	streamFile string
	refused    []string      // what judge did not accept, told again at the end
	killed     time.Time     // in killInPhaseTwo
	stood      time.Duration // from the kills until a run did something again
}

// before is what was true before the migration.
type before struct {
	registry dump
	token    string // of a service account, signed by the first API server
	site     string // what the unrelated site answered
	roots    *x509.CertPool
	at       time.Time
	traces   leftovers
	audit    map[string]audited // by point
	// inventories are the facts of every host.
	inventories map[string]string
	zones       map[string]string // of the hosts that are to join
}

// stage is one part of the scenario.
type stage struct {
	name string
	do   func(*testing.T, *scenario)
	// needed: the stages after it make no sense when it fails.
	needed bool
}

func stages() []stage {
	const needed, look = true, false
	if os.Getenv("LONG") == "only" {
		return slices.Concat([]stage{
			{"a playground comes up", makePlayground, needed},
			{"the cluster is filled and quiet", fill, needed},
			{"a whole run", wholeRun, needed},
			{"a new worker joins", newWorkerJoins, look},
		}, longer(), []stage{
			{"the playground goes", playgroundGoes, look},
		})
	}
	return slices.Concat([]stage{
		{"a playground comes up", makePlayground, needed},
		{"SSH as people have it", sshAsPeopleHaveIt, look},
		{"the cluster is filled and quiet", fill, needed},
		{"a spec is written for the cluster", specIsWritten, look},
		{"audit finds what is there once", auditBefore, look},
		{"preflight lets a veteran pass", preflightOfVeteran, look},
		{"plan changes nothing", planChangesNothing, look},
		{"host keys are checked", hostKeysAreChecked, look},
		{"a login that may only look", looksSuffice, look},
		{"phase 1", runPhaseOne, needed},
		{"a run is killed in phase 2, a second one locked out", killInPhaseTwo, needed},
		{"another spec is refused in the middle of a phase", changedSpecIsRefused, look},
		{"the rest of phase 2 is killed at points that a seed chooses", seededKills, needed},
		{"a run carries on to the end", carryOn, needed},
		{"nothing is left to do", nothingLeft, look},
		{"every acknowledged write is there", writesKept, look},
	}, lookStages(), []stage{
		{"audit finds what is left", auditAfter, look},
		{"verify tells whether all is well", verifyTells, look},
		{"what the migration made passes the CIS benchmark", passesCIS, look},
		{"the report is told in every form", reportIsTold, look},
		{"no secret was written down", noSecrets, look},

		{"a new worker joins", newWorkerJoins, look},
		{"kubeadm upgrade", kubeadmUpgrade, look},

		{"with one etcd host off", oneEtcdHostOff, look},
		{"with the first control-plane node off", firstControlPlaneOff, look},
		{"after both are back", allIsBack, look},
		{"a control-plane node reboots", nodeReboots, look},
	}, longer(), []stage{
		{"the playground goes", playgroundGoes, look},
	})
}

// wayBack are the stages that take each phase back from its end.
func wayBack() []stage {
	const needed, look = true, false
	return []stage{
		{"rollback out of order is refused", outOfOrderIsRefused, look},
		{"the way back is shown", wayBackIsShown, look},
		{"phase 3 is undone", phaseThreeBack, needed},
		{"phase 2 is undone", phaseTwoBack, needed},
		{"phase 1 is undone", phaseOneBack, needed},
		{"every write acknowledged on the way back is there", writesKept, look},
		{"all is as it was before", asBefore, look},
		{"etcd is scraped where it was", metricsOfFirst, look},
	}
}

// lookStages are the end state, whatever happened on the way there.
func lookStages() []stage {
	const look = false
	return []stage{
		{"three control-plane nodes", threeControlPlanes, look},
		{"three etcd members", threeMembers, look},
		{"no etcd on the control plane", noEtcdOnControlPlane, look},
		{"every object is as it was", objectsUnchanged, look},
		{"arguments of the API servers", apiServerArguments, look},
		{"certificates on the wire", certificatesOnTheWire, look},
		{"the load balancer uses all API servers", loadBalancerSpreads, look},
		{"no control-plane node differs from the first", noSilentDifference, look},
		{"no time zone was written over", zonesUnchanged, look},
		{"etcd is scraped where it is now", metricsOfMembers, look},
		{"every API server keeps an audit log", auditLogsGrow, look},
		{"strangers are told nothing", closedToStrangers, look},
		{"sockets of the nodes", nodeSockets, look},
		{"configuration names the endpoint", configurationNamesEndpoint, look},
		{"CoreDNS and the kubernetes Service", servicesSpread, look},
		{"what one API server wrote the others read", crossReads, look},
		{"the unrelated site", unrelatedSite, look},
	}
}

// longer are the stages that LONG=1 adds: what is too long for every run.
// LONG=only leaves out what they do not build on.
func longer() []stage {
	if os.Getenv("LONG") == "" {
		return nil
	}
	const needed, look = true, false
	list := append(wayBack(), []stage{
		{"from the middle of phase 2 and back", halfWayAndBack, needed},
		{"every write acknowledged half way is there", writesKept, look},
		{"all is as it was before, again", asBefore, look},
	}...)
	if orDefault(os.Getenv("SHAPE"), shapeNginx) != shapeNginx {
		return list // the rest takes the nginx that phase 1 configures for somebody else's
	}
	return append(list, []stage{
		{"phase 1 by its playbook, as printed", byHand, needed},
		{"forward again, as a user with sudo, behind somebody else's load balancer", forwardWithSudo, needed},
		{"the load balancer uses all API servers again", loadBalancerSpreads, look},
		{"three control-plane nodes again", threeControlPlanes, look},
		{"three etcd members again", threeMembers, look},
		{"no etcd on the control plane again", noEtcdOnControlPlane, look},
		{"arguments of the API servers again", apiServerArguments, look},
		{"no control-plane node differs from the first, again", noSilentDifference, look},
		{"certificates are renewed", certsRenewed, look},
		{"every write acknowledged since is there", writesKept, look},

		{"no restore while a quorum answers", restoreIsRefused, look},
		{"all members are destroyed and restored", restored, needed},
		{"no secret was written down after all that", noSecrets, look},
	}...)
}

// TestMigration is the scenario; see the package comment.
func TestMigration(t *testing.T) {
	c := configure(t)
	s := &scenario{config: c, top: t, canary: startCanary(t.Context()), bin: &binary{path: c.binary, out: c.out}, journal: filepath.Join(t.TempDir(), "e2e.journal")}
	t.Cleanup(func() { s.end(t) })
	begun := time.Now()
	for _, st := range stages() {
		began := time.Now()
		ok := t.Run(st.name, func(t *testing.T) { st.do(t, s) })
		t.Logf("%6.1f s, %5.1f s: %s", time.Since(begun).Seconds(), time.Since(began).Seconds(), st.name)
		if !ok && st.needed {
			t.Fatalf("the stages after %q build on it", st.name)
		}
	}
}

// end keeps what helps to understand a failure and takes the playground down
// when the last stage was not reached.
func (s *scenario) end(t *testing.T) {
	for _, w := range s.writers {
		w.stop()
	}
	if len(s.refused) > 0 {
		_, said := s.canary.overloaded()
		t.Logf("what clients saw and may not see:\n%s\n%s", strings.Join(s.refused, "\n"), said)
	}
	if s.pg == nil {
		s.takeDown(t)
		return
	}
	if t.Failed() {
		s.keepArtifacts(t)
	}
	s.takeDown(t)
}

// migrate are the arguments of a command on the scenario's cluster.
func (s *scenario) migrate(command string, more ...string) []string {
	return s.migrateWith(s.specFile(), command, more...)
}

func (s *scenario) specFile() string {
	if s.spec != "" {
		return s.spec
	}
	return s.pg.specFile()
}

func (s *scenario) migrateWith(specFile, command string, more ...string) []string {
	return append([]string{command, "--file", specFile, "--journal", s.journal}, more...)
}

// balancerKind is the line of a spec that says which load balancer there shall be.
var balancerKind = regexp.MustCompile(`(?m)^(    kind: )nginx$`)

func makePlayground(t *testing.T, s *scenario) {
	s.pg = playgroundUp(t, s.config, s.bin)
	if s.shape != shapeNginx {
		s.spec = s.specWith(t, balancerKind, "${1}"+s.shape)
	}
	s.before.traces = s.pg.traces(t)
	s.before.roots = s.pg.roots(t)
	if s.sudo {
		printedSudoers(t, s)
	}
}

// fill puts objects into the cluster and notes how everything is.
func fill(t *testing.T, s *scenario) {
	p := s.pg
	s.before.token = makeObjects(t, p)
	s.before.site = askSite(t, p)
	for _, w := range workers() {
		if err := p.hosts[w].talksOnlyTo(soon(t), "kubelet", p.api("cp1"), 6443); err != nil {
			t.Fatalf("before the migration: %v", err)
		}
	}
	etcd := p.etcdOn(t, p.hosts["cp1"], "127.0.0.1")
	waitQuiet(t, etcd)
	syscall.Sync() // what building left to be written makes the disks look slow to preflight
	s.before.registry = dumpRegistry(t, etcd)
	s.before.inventories = inventories(t, p)
	s.before.zones = zones(t, p)
	s.before.at = time.Now()
	t.Logf("%d keys below %s", len(s.before.registry.values), registry)
}

// workers are the nodes that ran pods before.
func workers() []string { return []string{"w1", "w2"} }

// takeDown removes the playground, unless it is to be kept.
func (s *scenario) takeDown(t *testing.T) {
	if s.keep {
		t.Logf("KEEP=1: the playground is still up; take it down with: migrate playground down --name %s", s.name)
		return
	}
	args := []string{"playground", "down", "--name", s.name}
	if r := s.bin.runDetached(downLimit, args...); r.code != 0 && s.pg != nil {
		t.Errorf("taking the playground down: exit code %d: %s", r.code, tail(r.stderr, 5))
	}
}

func playgroundGoes(t *testing.T, s *scenario) {
	if s.keep {
		t.Log("KEEP=1: left up")
		return
	}
	if s.top.Failed() {
		s.keepArtifacts(t)
	}
	s.bin.must(t, 0, downLimit, "playground", "down", "--name", s.name)
	s.before.traces.check(t)
	s.pg = nil
	s.bin.must(t, 0, attemptTimeout, "playground", "down", "--name", s.name) // nothing to do
}
