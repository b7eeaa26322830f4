package probe

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPulseKnowsItsStalls(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return time.UnixMilli(int64(1_000_000 + ms)) }
	var p pulse
	for _, ms := range []int{0, 25, 50, 130, 155, 1155, 1180} { // 130 is late as everybody is now and then
		p.beat(at(ms))
	}
	for _, tt := range []struct {
		from, to int
		want     time.Duration
	}{
		{0, 155, 0},
		{0, 1200, 975 * time.Millisecond}, // due at 180, came at 1155
		{680, 1200, 475 * time.Millisecond},
		{680, 780, 100 * time.Millisecond},
		{1160, 1250, 0},
		{1160, 3180, 1975 * time.Millisecond}, // it has not run since 1180
	} {
		if got := p.missed(at(tt.from), at(tt.to)); got != tt.want {
			t.Errorf("from %d to %d ms it missed %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
	p.beat(at(1180 + int(stallsKept.Milliseconds()) + 2000))
	if n := len(p.stalls); n != 1 {
		t.Errorf("%d stalls are kept", n)
	}
	if new(pulse).missed(at(0), at(5000)) != 0 || (*pulse)(nil).missed(at(0), at(5000)) != 0 {
		t.Error("a pulse that never beat knows of a stall")
	}
}

// TestOnlyLatenessOfOurOwnIsLeftOut: a request that was late while this
// process did not run is not judged; one that was late while it ran is a
// failure, and so is one that failed otherwise, whoever ran.
func TestOnlyLatenessOfOurOwnIsLeftOut(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for _, tt := range []struct {
		name             string
		runs             bool
		err              error
		failed, unjudged int
	}{
		{"late, and we ran", true, nil, 1, 0},
		{"late, and we did not run", false, nil, 0, 1},
		{"refused, and we did not run", false, refused, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := &pulse{}
				p.beat(time.Now())
				if tt.runs {
					go p.run(ctx)
				}
				s := newSeries(KeptRead, time.Second, discard())
				loop := openLoop{series: s, interval: time.Second, timeout: 2 * time.Second, pulse: p,
					send: func(context.Context, uint64) error { time.Sleep(2500 * time.Millisecond); return tt.err }}
				sending, stop := context.WithTimeout(ctx, 500*time.Millisecond)
				defer stop()
				loop.run(sending, ctx)
				if s.run.failures != tt.failed || s.run.requests != tt.failed || s.run.unjudged != tt.unjudged {
					t.Errorf("%d failures of %d, %d unjudged: %v", s.run.failures, s.run.requests, s.run.unjudged, s.run.reasons)
				}
				if s.gaps.failing != (tt.failed > 0) {
					t.Errorf("it begins a gap: %v", s.gaps.failing)
				}
			})
		})
	}
}
