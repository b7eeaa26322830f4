package probe

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// SlotSeconds is the time that a Slot is about.
const SlotSeconds = 5

// Slot is what became of the requests of a series that were sent within
// SlotSeconds: what a chart over time is drawn of. The figures of a result
// are made of the requests themselves.
type Slot struct {
	At       int64 `json:"at"` // its begin in Unix seconds, a multiple of SlotSeconds
	Requests int   `json:"n"`
	Failures int   `json:"failed,omitempty"`
	MaxUs    int32 `json:"maxUs,omitempty"` // the longest latency of a request that succeeded
}

// note adds a request that was sent then; took counts where it succeeded.
func (s *stats) note(sent time.Time, took time.Duration, ok bool) {
	one := Slot{At: sent.Unix() - sent.Unix()%SlotSeconds, Requests: 1}
	if ok {
		one.MaxUs = int32(min(max(took, 0).Microseconds(), math.MaxInt32))
	} else {
		one.Failures = 1
	}
	s.slots = addSlots(s.slots, one)
}

// addSlots adds slots to a list in order of time, and keeps that order. It
// may change the list.
func addSlots(list []Slot, more ...Slot) []Slot {
	for _, o := range more {
		i, found := slices.BinarySearchFunc(list, o.At, func(s Slot, at int64) int { return cmp.Compare(s.At, at) })
		if !found {
			list = slices.Insert(list, i, o)
			continue
		}
		list[i].Requests += o.Requests
		list[i].Failures += o.Failures
		list[i].MaxUs = max(list[i].MaxUs, o.MaxUs)
	}
	return list
}
