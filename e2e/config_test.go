package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sudoUser is who logs in where root may not.
const sudoUser = "operator"

// Values of SHAPE: the load balancer that the program configures.
const (
	shapeNginx   = "nginx"
	shapeHAProxy = "haproxy"
)

// config is what the environment asks for, see the package comment.
type config struct {
	name       string
	kubernetes string
	sudo       bool
	keep       bool
	binary     string
	shape      string // spec.loadBalancer.kind, see the package comment
	rate       int    // requests a second of each kind through each path
	out        string // folder of the transcripts and, after a failure, the artifacts
}

// configure reads the environment. Where the test cannot run, it fails with
// what to do about it: a test that skips itself is one that nobody runs.
func configure(t *testing.T) config {
	t.Helper()
	if testing.Short() {
		if os.Getenv("CI") == "true" {
			t.Fatal("-short leaves out the end-to-end test, and in CI nothing may be left out: run without -short")
		}
		t.Skip("-short leaves out the playground")
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Fatal("this test makes a playground of systemd-nspawn hosts: run it as root on Linux, or with -short to leave it out")
	}
	out, err := filepath.Abs("../out/e2e")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(out); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	c := config{
		name:       orDefault(os.Getenv("E2E_NAME"), "e2e"),
		kubernetes: strings.TrimPrefix(orDefault(os.Getenv("KUBERNETES"), "1.36.3"), "v"),
		sudo:       os.Getenv("SUDO_USER_MODE") == "1",
		keep:       os.Getenv("KEEP") == "1",
		binary:     os.Getenv("MIGRATE_BIN"),
		shape:      orDefault(os.Getenv("SHAPE"), shapeNginx),
		out:        out,
		rate:       rateFor(t),
	}
	if c.shape != shapeNginx && c.shape != shapeHAProxy {
		t.Fatalf("SHAPE=%s: write %s or %s", c.shape, shapeNginx, shapeHAProxy)
	}
	switch {
	case c.binary == "":
		c.binary = buildBinary(t)
	case !filepath.IsAbs(c.binary): // as seen from the top of the repository
		c.binary = filepath.Join(filepath.Dir(filepath.Dir(out)), c.binary)
	}
	return c
}

// The probe asks through each path for four kinds of requests, twenty a second
// in all. On a machine where starting a program takes long, all else does: there
// the probe, which runs on it too, would be the load that makes answers late.
const (
	usualRate = 5
	slowRate  = 2
	slowStart = 1500 * time.Microsecond // some three times what is usual
)

// rateFor times a program that does nothing.
func rateFor(t *testing.T) int {
	t.Helper()
	took := make([]time.Duration, 0, 51)
	for range cap(took) {
		began := time.Now()
		if err := exec.CommandContext(t.Context(), "true").Run(); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	rate, median := usualRate, took[len(took)/2]
	if median > slowStart {
		rate = slowRate
	}
	t.Logf("a program that does nothing takes %s to start and end: the probe asks %d times a second for each kind through each path", median, rate)
	return rate
}

// probeRate is the value of --probe-rate.
func (c config) probeRate() string { return strconv.Itoa(c.rate) }

func orDefault(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// buildBinary builds the program under test.
func buildBinary(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "migrate")
	begun := time.Now()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../cmd/migrate").CombinedOutput()
	if err != nil {
		t.Fatalf("building the binary under test: %v\n%s", err, out)
	}
	t.Logf("built the binary under test in %.0f s", time.Since(begun).Seconds())
	return file
}
