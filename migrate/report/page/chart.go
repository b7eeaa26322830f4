package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"hamigrate/migrate/probe"
	"hamigrate/state"
)

// Charts are drawn in lanes of SVG that stretch with the window, so that they
// can be read on a telephone: their words stand beside them, in HTML.
const (
	chartWidth = 1000.0
	laneHeight = 40.0
	// breakWidth is what a pause takes, however long it was.
	breakWidth = 12.0
	// pause is how long nothing happens before the axis leaves the time out:
	// phases may run weeks apart.
	pause = 2 * time.Minute
	// thinnest is the width of a bar that would else not be seen.
	thinnest = 3.0
)

// span is a time in which something happened.
type span struct{ from, to time.Time }

// Axis maps times to the width of a chart. Pauses are left out.
type Axis struct{ spans []span }

// newAxis is the axis on which all spans have their place.
func newAxis(all []span) Axis {
	slices.SortFunc(all, func(a, b span) int { return a.from.Compare(b.from) })
	var a Axis
	for _, s := range all {
		if n := len(a.spans); n > 0 && s.from.Sub(a.spans[n-1].to) < pause {
			a.spans[n-1].to = later(a.spans[n-1].to, s.to)
			continue
		}
		a.spans = append(a.spans, s)
	}
	return a
}

// total is the time without the pauses.
func (a Axis) total() time.Duration {
	var sum time.Duration
	for _, s := range a.spans {
		sum += s.to.Sub(s.from)
	}
	return max(sum, time.Second)
}

// x is the place of a time, from 0 to chartWidth.
func (a Axis) x(t time.Time) float64 {
	scale := (chartWidth - breakWidth*float64(max(len(a.spans)-1, 0))) / float64(a.total())
	at := 0.0
	for i, s := range a.spans {
		if i > 0 {
			at += breakWidth
		}
		if t.Before(s.from) {
			return at
		}
		if !t.After(s.to) {
			return at + float64(t.Sub(s.from))*scale
		}
		at += float64(s.to.Sub(s.from)) * scale
	}
	return chartWidth
}

// Break is a pause that the axis leaves out.
type Break struct {
	X, W  float64
	Title string
}

// Breaks are the pauses.
func (a Axis) Breaks() []Break {
	var list []Break
	for i := 1; i < len(a.spans); i++ {
		left := a.spans[i].from.Sub(a.spans[i-1].to)
		list = append(list, Break{X: a.x(a.spans[i-1].to), W: breakWidth, Title: "nothing was done for " + duration(left.Seconds())})
	}
	return list
}

// Tick is a time written under a chart; At is in percent of its width.
type Tick struct {
	At   float64
	Text string
	Last bool
}

// Ticks are the times at which work began, and the last end. Those that
// would stand in each other are left out.
func (a Axis) Ticks() []Tick {
	var list []Tick
	for _, s := range a.spans {
		if at := 100 * a.x(s.from) / chartWidth; len(list) == 0 || at-list[len(list)-1].At > 22 && at < 70 {
			list = append(list, Tick{At: at, Text: s.from.UTC().Format("Jan 2 15:04:05")})
		}
	}
	if n := len(a.spans); n > 0 {
		list = append(list, Tick{At: 100, Text: a.spans[n-1].to.UTC().Format("15:04:05"), Last: true})
	}
	return list
}

// Bar is a rectangle in a lane.
type Bar struct {
	X, Y, W, H float64
	Class      string
	Title      string // shown when pointed at
}

// Lane is one row of a chart.
type Lane struct {
	Name, Note string
	Bars       []Bar
}

// Charts are those of the page; both have one axis, so that what is above
// each other happened at the same time.
type Charts struct {
	Axis         Axis
	Hosts        []Lane
	Availability []Lane
	FullMs       float64 // the latency of a bar of full height
}

// Charts draws them.
func (d Data) Charts() Charts {
	visits := d.visits()
	var all []span
	for _, v := range visits {
		all = append(all, v.span)
	}
	if d.Probe != nil {
		for _, p := range d.Probe.Paths {
			for _, s := range slices.Concat(p.QuietSlots, p.Slots) {
				all = append(all, slotSpan(s))
			}
		}
	}
	c := Charts{Axis: newAxis(all)}
	c.Hosts = c.Axis.hosts(visits)
	c.FullMs = fullHeight(d.Probe)
	if d.Probe != nil {
		for _, p := range d.Probe.Paths {
			if lane := c.Axis.availability(p, c.FullMs); len(lane.Bars) > 0 {
				c.Availability = append(c.Availability, lane)
			}
		}
	}
	return c
}

// visit is one attempt at a step, or its being undone.
type visit struct {
	span
	key   state.Key
	title string
	end   state.Status
}

// visits reads the attempts out of the journal's history. One that was killed
// ends where the journal last heard of it.
func (d Data) visits() []visit {
	titles := map[state.Key]string{}
	for _, p := range d.Phases {
		for _, s := range p.Steps {
			titles[s.Key] = s.Title
		}
	}
	var list []visit
	open := map[state.Key]int{}
	for _, e := range d.Log {
		i, begun := open[e.Key]
		switch e.To {
		case state.Started, state.Undoing:
			open[e.Key] = len(list)
			list = append(list, visit{span: span{e.At, e.At}, key: e.Key, title: cmp.Or(titles[e.Key], e.Step), end: e.To})
			continue
		case state.Applied:
		default:
			delete(open, e.Key)
		}
		if begun {
			list[i].to, list[i].end = e.At, e.To
		}
	}
	return list
}

// hosts is the timeline: a lane for each host, in the order in which they
// come into play; what changes objects has the last one.
func (a Axis) hosts(visits []visit) []Lane {
	var lanes []Lane
	for _, v := range visits {
		i := slices.IndexFunc(lanes, func(l Lane) bool { return l.Name == v.key.Target })
		if i < 0 {
			i = len(lanes)
			lanes = append(lanes, Lane{Name: v.key.Target})
		}
		x := a.x(v.from)
		b := Bar{X: x, W: max(a.x(v.to)-x, thinnest), Y: 6, H: laneHeight - 12, Class: fmt.Sprintf("p%d", v.key.Phase)}
		b.Title = fmt.Sprintf("%s · %s: %s, %s from %s UTC", v.key.Target, v.title, v.end, duration(v.to.Sub(v.from).Seconds()), when(v.from))
		switch v.end {
		case state.Undone, state.Undoing:
			b.Class = "back"
		case state.Failed, state.Started:
			b.Class = "bad"
		}
		lanes[i].Bars = append(lanes[i].Bars, b)
	}
	slices.SortStableFunc(lanes, func(a, b Lane) int { return isCluster(a) - isCluster(b) })
	return lanes
}

func isCluster(l Lane) int {
	if l.Name == clusterTarget {
		return 1
	}
	return 0
}

// availability is the lane of one path: a bar for each slot, as high as its
// slowest request took, and of full height and another colour where one
// failed.
func (a Axis) availability(p probe.PathResult, fullMs float64) Lane {
	lane := Lane{Name: p.Name, Note: fmt.Sprintf("%s of %s failed", thousands(p.Failures), thousands(p.Requests))}
	draw := func(s probe.Slot, class string) {
		when, ms := slotSpan(s), float64(s.MaxUs)/1000
		x := a.x(when.from)
		h := min(max(laneHeight*ms/max(fullMs, 1), 2), laneHeight)
		title := fmt.Sprintf("%s UTC: %d requests, the slowest took %.1f ms", when.from.UTC().Format("15:04:05"), s.Requests, ms)
		if s.Failures > 0 {
			class, h = "bad", laneHeight
			title += fmt.Sprintf(", %d failed", s.Failures)
		}
		lane.Bars = append(lane.Bars, Bar{X: x, Y: laneHeight - h, W: max(a.x(when.to)-x, 0.8), H: h, Class: class, Title: title})
	}
	for _, s := range p.QuietSlots {
		draw(s, "quiet")
	}
	for _, s := range p.Slots {
		draw(s, "ok")
	}
	slices.SortStableFunc(lane.Bars, func(a, b Bar) int { return cmp.Compare(a.X, b.X) })
	return lane
}

func slotSpan(s probe.Slot) span {
	from := time.Unix(s.At, 0)
	return span{from, from.Add(probe.SlotSeconds * time.Second)}
}

// fullHeight is the longest latency of any slot in which nothing failed, in
// milliseconds: the others are drawn as high as can be anyway.
func fullHeight(r *probe.Result) float64 {
	var most float64
	if r == nil {
		return most
	}
	for _, p := range r.Paths {
		for _, s := range slices.Concat(p.QuietSlots, p.Slots) {
			if s.Failures == 0 {
				most = max(most, float64(s.MaxUs)/1000)
			}
		}
	}
	return most
}
