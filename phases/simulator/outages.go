package simulator

import (
	"fmt"
	"time"
)

// settleOutages counts the time since the last look as out where there is no
// answer now.
func (w *World) settleOutages(now time.Time) {
	from := w.hosts["w1"]
	if from == nil {
		return // a world of bare machines
	}
	for name, address := range map[string]string{
		"old address": w.Spec.ControlPlane.First.Address + ":6443",
		"service":     serviceIP + ":443",
		"endpoint":    fmt.Sprintf("%s:%d", w.Spec.Endpoint.Host, w.Spec.Endpoint.Port),
	} {
		err := w.reach(from, "https://"+address)
		if _, known := w.outages[name]; !known && err == nil {
			w.outages[name] = 0
		} else if known && err != nil {
			w.outages[name] += now.Sub(w.watched)
		}
	}
	if err := w.everyEndpoint(from); err != nil {
		w.outages["each endpoint of the service"] += now.Sub(w.watched)
	}
	w.watched = now
}
