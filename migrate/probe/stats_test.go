package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

func TestPercentiles(t *testing.T) {
	t.Parallel()
	hundred := make([]int32, 100)
	for i := range hundred {
		hundred[i] = int32(i+1) * 1000
	}
	rand.Shuffle(len(hundred), func(i, j int) { hundred[i], hundred[j] = hundred[j], hundred[i] })
	for _, c := range []struct {
		samples  []int32
		p50, p99 float64
	}{
		{nil, 0, 0},
		{[]int32{1500}, 1.5, 1.5},
		{[]int32{3000, 1000}, 1, 3},
		{hundred, 50, 99},
	} {
		if got := percentiles(c.samples, 50, 99); got[0] != c.p50 || got[1] != c.p99 {
			t.Errorf("percentiles of %d samples = %v, want %v %v", len(c.samples), got, c.p50, c.p99)
		}
	}
}

func TestSamplesAreBounded(t *testing.T) {
	t.Parallel()
	var s stats
	for range maxSamples {
		s.sample(time.Millisecond)
	}
	for range maxSamples {
		s.sample(3 * time.Millisecond)
	}
	s.sample(2 * time.Hour) // more than an int32 holds in microseconds
	slow := 0
	for _, us := range s.samples {
		if us > 1000 {
			slow++
		}
	}
	if len(s.samples) != maxSamples || s.max != 2*time.Hour || math.Abs(float64(slow)/maxSamples-0.5) > 0.01 {
		t.Errorf("%d samples, %d of the second half, max %v", len(s.samples), slow, s.max)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	t.Parallel()
	var s stats
	for i := range 50 {
		s.fail(Failure{Reason: fmt.Sprint(i)})
	}
	if len(s.reasons) != maxReasons+1 || s.reasons[otherReasons] != 50-maxReasons || s.failures != 50 || len(s.failed) != maxFailures || s.failed[0].Reason != "0" {
		t.Errorf("%d failures, %d kept, reasons %v", s.failures, len(s.failed), s.reasons)
	}
}

// TestGaps compares with the definition, for outcomes in any order.
func TestGaps(t *testing.T) {
	t.Parallel()
	const interval = 50 * time.Millisecond
	rapid.Check(t, func(t *rapid.T) {
		ok := rapid.SliceOfN(rapid.Bool(), 1, 60).Draw(t, "ok")
		epoch := time.Unix(1_000_000, 0)
		at := func(i int) time.Time { return epoch.Add(time.Duration(i) * interval) }
		g := gaps{interval: interval}
		var got time.Duration
		order := rapid.Permutation(indices(len(ok))).Draw(t, "order")
		for _, i := range order {
			for _, end := range g.add(uint64(i), outcome{at: at(i), ok: ok[i]}) {
				got = max(got, end.length)
			}
		}
		got = max(got, g.open())
		// In an undisturbed rhythm, the gap is the number of consecutive
		// failures times the interval.
		var longest, run int
		for _, o := range ok {
			run++
			if o {
				run = 0
			}
			longest = max(longest, run)
		}
		if want := time.Duration(longest) * interval; got != want {
			t.Fatalf("gap %v, want %v", got, want)
		}
		if g.failing != !ok[len(ok)-1] || len(g.waiting) != 0 {
			t.Fatalf("failing %v, %d waiting", g.failing, len(g.waiting))
		}
	})
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestGapsLeaveOutWhatWasCutShort(t *testing.T) {
	t.Parallel()
	g := gaps{interval: time.Second}
	at := time.Unix(1_000_000, 0)
	g.add(0, outcome{at: at, ok: true})
	g.add(1, outcome{at: at.Add(time.Second), discarded: true})
	if g.failing || g.open() != 0 {
		t.Error("a request that says nothing began a gap")
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSeries(KeptRead, 50*time.Millisecond, discard())
		loop := openLoop{
			series: s, interval: 50 * time.Millisecond, offset: 20 * time.Millisecond, timeout: 2 * time.Second,
			send: func(ctx context.Context, n uint64) error {
				if n >= 20 && n < 60 { // a server that hangs for two seconds
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		loop.run(ctx, t.Context())
		if s.run.requests != 200 || s.run.failures != 40 || s.run.gap != 2*time.Second {
			t.Errorf("%d requests, %d failures, gap %v; want 200, 40, 2s", s.run.requests, s.run.failures, s.run.gap)
		}
	})
}

// TestOpenLoopDoesNotWaitForEver: requests that never end fill the slots,
// and those due then fail at the rate.
func TestOpenLoopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSeries(KeptRead, 50*time.Millisecond, discard())
		stuck := make(chan struct{})
		loop := openLoop{
			series: s, interval: 50 * time.Millisecond, timeout: 2 * time.Second,
			send: func(context.Context, uint64) error { <-stuck; return nil },
		}
		ctx, cancel := context.WithCancel(t.Context())
		go loop.run(ctx, t.Context())
		time.Sleep(10*time.Second - time.Millisecond)
		synctest.Wait()
		s.mu.Lock()
		if got := s.run.reasons["not sent: too many waiting"]; got != 200-minWaiting || s.run.requests != got {
			t.Errorf("%d requests, %d not sent, want %d of both", s.run.requests, got, 200-minWaiting)
		}
		s.mu.Unlock()
		cancel()
		close(stuck)
	})
}

// TestOpenLoopSkips: a process that did not run for a while says so instead
// of sending what was due in a burst.
func TestOpenLoopSkips(t *testing.T) {
	t.Parallel()
	s := newSeries(KeptRead, 10*time.Millisecond, discard())
	due := time.Now().Add(-3 * time.Second) // as after being stopped for 3 s
	loop := openLoop{series: s, interval: 10 * time.Millisecond}
	got := loop.catchUp(due)
	if s.run.skipped < 300 || s.run.skipped > 310 || time.Until(got) > 0 || time.Since(got) > 50*time.Millisecond {
		t.Errorf("skipped %d, next due %v ago", s.run.skipped, time.Since(got))
	}
	late := time.Now().Add(-maxLate / 2)
	if again := loop.catchUp(late); again != late {
		t.Error("a small lag was skipped")
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	dialError := func(err error) error {
		return fmt.Errorf("Get \"https://x\": %w", &net.OpError{Op: "dial", Net: "tcp", Err: err})
	}
	for want, err := range map[string]error{
		"TLS handshake: connection reset":             &stageError{stage: stageTLS, err: dialError(syscall.ECONNRESET)},
		"connecting: connection refused":              &stageError{stage: stageConnect, err: dialError(syscall.ECONNREFUSED)},
		"connecting: no route to host":                &stageError{stage: stageConnect, err: dialError(syscall.EHOSTUNREACH)},
		"connecting: no answer within 2s":             &stageError{stage: stageConnect, err: &timeoutError{2 * time.Second}},
		"connecting: ssh: rejected":                   &stageError{stage: stageConnect, err: errors.New("ssh: rejected\nmore")},
		"connection closed":                           fmt.Errorf("x: %w", io.ErrUnexpectedEOF),
		"status 429":                                  fmt.Errorf("create: %w", apierrors.NewTooManyRequests("path-1-2 of w1", 1)),
		"status 500: etcdserver: leader changed":      fmt.Errorf("create: %w", &apierrors.StatusError{ErrStatus: metav1.Status{Code: 500, Message: "etcdserver: leader changed"}}),
		"status 404":                                  apierrors.NewNotFound(configMapResource, "path-1-2"),
		"certificate: signed by an unknown authority": dialError(x509.UnknownAuthorityError{}),
		"certificate: not valid for this address":     x509.HostnameError{Certificate: &x509.Certificate{}, Host: "10.0.0.1"},
		strings.Repeat("x", maxReasonLength) + "…":    errors.New(strings.Repeat("x", 500)),
	} {
		if got := reason(err); got != want {
			t.Errorf("reason of %v = %q, want %q", err, got, want)
		}
	}
}

func TestOffsetsAreSpread(t *testing.T) {
	t.Parallel()
	p := &Probe{interval: time.Second}
	var offsets []time.Duration
	for range 12 {
		offsets = append(offsets, p.offset())
	}
	slices.Sort(offsets)
	for i := range offsets[1:] {
		if offsets[i+1]-offsets[i] < time.Second/30 || offsets[i+1] >= time.Second {
			t.Errorf("offsets are too close or too large: %v", offsets)
		}
	}
}

// TestLateAnswer: an answer after the timeout is a failure, also when the
// client was too busy to notice the timeout.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSeries(KeptRead, time.Second, discard())
		loop := openLoop{series: s, interval: time.Second, timeout: 2 * time.Second,
			send: func(context.Context, uint64) error { time.Sleep(2500 * time.Millisecond); return nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		loop.run(ctx, t.Context())
		if s.run.failures != 2 || s.run.reasons["waiting for the answer: no answer within 2s"] != 2 || s.run.late != 0 {
			t.Errorf("%d failures: %v", s.run.failures, s.run.reasons)
		}
	})
}

// TestFlappingIsLoggedNowAndThen: one line and its end in ten seconds.
func TestFlappingIsLoggedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := newSeries(KeptRead, 50*time.Millisecond, hclog.New(&hclog.LoggerOptions{Output: &log}))
		loop := openLoop{series: s, interval: 50 * time.Millisecond, timeout: 2 * time.Second,
			send: func(_ context.Context, n uint64) error {
				if n%2 == 1 {
					return errors.New("every other one")
				}
				return nil
			}}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		loop.run(ctx, t.Context())
		fail, again := strings.Count(log.String(), "requests fail"), strings.Count(log.String(), "succeed again")
		if fail != 3 || again != 3 || s.run.failures != 250 {
			t.Errorf("%d failures, logged %d times, and %d times their end:\n%s", s.run.failures, fail, again, log.String())
		}
	})
}
