package build

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeMeter is a meter with a clock of the test's, and what it reported.
func fakeMeter(p plan) (m *meter, clock *time.Time, events *[]Event) {
	clock, events = new(time.Time), &[]Event{}
	*clock = time.Unix(1000, 0)
	m = newMeter(func(e Event) { *events = append(*events, e) }, p)
	m.now = func() time.Time { return *clock }
	m.began, m.moved = *clock, *clock
	return m, clock, events
}

func TestProgressNeverFalls(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := plan{given: rapid.SampledFrom([]string{"", "/bin"}).Draw(rt, "given")}
		m, clock, events := fakeMeter(p)
		for _, seconds := range p.seconds() {
			m.begin("part", seconds)
			for _, share := range rapid.SliceOf(rapid.Float64Range(-0.5, 1.5)).Draw(rt, "shares") {
				*clock = clock.Add(time.Duration(rapid.IntRange(0, 500).Draw(rt, "seconds")) * time.Second)
				m.advance(share)
				m.tick()
			}
			m.end(rapid.Bool().Draw(rt, "made"))
		}
		m.finish("ready")
		checkEvents(t, *events)
		last := (*events)[len(*events)-1]
		if last.Done != last.Total || last.Left != 0 || last.Part != len(p.seconds()) {
			rt.Fatalf("last event is %+v", last)
		}
	})
}

func TestTimeLeftFollowsThePace(t *testing.T) {
	t.Parallel()
	m, clock, events := fakeMeter(plan{})
	last := func() Event { return (*events)[len(*events)-1] }
	total := time.Duration(sumOf(plan{}.seconds())) * time.Second

	m.begin("Build Kubernetes", kubernetesSeconds)
	if got := last().Left; got != total {
		t.Errorf("at the start %v are left, want %v", got, total)
	}
	*clock = clock.Add(10 * time.Second)
	m.tick()
	if got := last().Left; got != total-10*time.Second {
		t.Errorf("after 10 s %v are left, want %v", got, total-10*time.Second)
	}
	// Half of it in twice its time: the rest takes twice its time too.
	*clock = time.Unix(1000+kubernetesSeconds, 0)
	m.advance(0.5)
	if got, want := last().Left, 2*total-kubernetesSeconds*time.Second; got != want {
		t.Errorf("at half pace %v are left, want %v", got, want)
	}
	// Nothing more gets done for hours: it is not finished yet.
	*clock = clock.Add(24 * time.Hour)
	m.tick()
	if got := last().Left; got != time.Second {
		t.Errorf("long overdue, %v are left, want 1s", got)
	}
}

func TestCacheTeachesNoPace(t *testing.T) {
	t.Parallel()
	m, clock, events := fakeMeter(plan{})
	m.begin("Build Kubernetes", kubernetesSeconds)
	*clock = clock.Add(time.Second)
	m.end(false)
	want := time.Duration(sumOf(plan{}.seconds())-kubernetesSeconds) * time.Second
	if got := (*events)[len(*events)-1].Left; got != want {
		t.Errorf("%v are left, want %v", got, want)
	}
}

// sumOf adds up.
func sumOf(seconds []int) (sum int) {
	for _, s := range seconds {
		sum += s
	}
	return sum
}

func TestNoReportAfterStop(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	stopped := false
	m := newMeter(func(Event) {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			t.Error("reported after stop")
		}
	}, plan{})
	stop := m.run()
	stop()
	mu.Lock()
	defer mu.Unlock()
	stopped = true
}
