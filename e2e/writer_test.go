package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// writer is a client of the API that works through the whole migration and
// remembers every write that was acknowledged. A write that is not
// acknowledged is tried again, and counts as a failure.
type writer struct {
	name   string
	client *kubernetes.Clientset
	begun  time.Time
	cancel context.CancelFunc
	ended  chan struct{}
	once   sync.Once
	every  time.Duration
	idle   time.Duration // at its end, since the last acknowledgement

	mu       sync.Mutex
	acked    int           // writes 0 to acked-1 were acknowledged
	failures int           // attempts without an acknowledgement
	late     int           // of these, the ones that got no answer in writeTimeout
	gap      time.Duration // the longest time between two acknowledgements
	last     time.Time     // of the last acknowledgement
	lastErr  error
	failedAt time.Time   // when that attempt began
	tell     func(asked) // of each attempt; may be nil
}

const (
	// writerNamespace is not the one whose objects are to stay unchanged.
	writerNamespace = "e2e-writers"
	writeInterval   = 200 * time.Millisecond
	writeTimeout    = 5 * time.Second
)

// listen has each attempt told to somebody from now on.
func (w *writer) listen(tell func(asked)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell = tell
}

// acknowledged is how many writes were.
func (w *writer) acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked
}

// startWriter begins to write through address. It writes on when the stage is
// over, until stop.
func startWriter(t *testing.T, p *playground, name, address string) *writer {
	t.Helper()
	return startWriterEvery(t, p, name, address, writeInterval)
}

// startWriterEvery is startWriter with another time between two writes.
func startWriterEvery(t *testing.T, p *playground, name, address string, every time.Duration) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{name: name, client: p.kubeAnew(t, address), cancel: cancel, every: every, begun: time.Now(), last: time.Now(), ended: make(chan struct{})}
	_, err := w.client.CoreV1().Namespaces().Create(soon(t), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: writerNamespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("making the writers' namespace: %v", err)
	}
	go w.loop(ctx)
	return w
}

// stop ends the writing; what was acknowledged by then is final.
func (w *writer) stop() {
	w.once.Do(func() {
		w.cancel()
		<-w.ended
		w.idle = time.Since(w.last)
	})
}

func (w *writer) loop(ctx context.Context) {
	defer close(w.ended)
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sent := time.Now()
		err := w.write(ctx, w.acked)
		if ctx.Err() != nil {
			return // cut off by stop: neither acknowledged nor failed
		}
		w.note(sent, err)
	}
}

// write makes object n and then writes its number into the counter, an object
// that is changed over and over.
func (w *writer) write(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	maps := w.client.CoreV1().ConfigMaps(writerNamespace)
	number := map[string]string{"number": strconv.Itoa(n)}
	_, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: w.object(n), Labels: map[string]string{"writer": w.name}}, Data: number,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) { // there already: the acknowledgement was lost, not the write
		return err
	}
	counter := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: w.name + "-counter"}, Data: number}
	if _, err = maps.Update(ctx, counter, metav1.UpdateOptions{}); apierrors.IsNotFound(err) {
		_, err = maps.Create(ctx, counter, metav1.CreateOptions{})
	}
	return err
}

func (w *writer) object(n int) string { return fmt.Sprintf("%s-%d", w.name, n) }

func (w *writer) note(sent time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tell != nil {
		one := asked{at: sent, done: time.Now()}
		switch {
		case err != nil:
			one.failed = err.Error()
		case one.done.Sub(sent) > 2*requestTimeout: // a write is two requests
			one.failed = fmt.Sprintf("answered after %s", one.done.Sub(sent))
		}
		w.tell(one)
	}
	if err != nil {
		w.failures, w.lastErr, w.failedAt = w.failures+1, err, sent
		// Not errors.Is: client-go's rate limiter keeps no cause.
		if strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			w.late++
		}
		return
	}
	w.acked++
	w.gap = max(w.gap, time.Since(w.last))
	w.last = time.Now()
}

// String tells how it went.
func (w *writer) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := fmt.Sprintf("writer %s: %d writes acknowledged, %d attempts failed, longest gap %.1f s in %.0f s",
		w.name, w.acked, w.failures, w.gap.Seconds(), w.last.Sub(w.begun).Seconds())
	if w.lastErr != nil {
		s += fmt.Sprintf("; failed last at %s: %v", w.failedAt.UTC().Format(time.TimeOnly), w.lastErr)
	}
	return s
}

// check reads back, through one API server, every acknowledged write.
func (w *writer) check(ctx context.Context, c kubernetes.Interface) error {
	if acked := w.acknowledged(); acked == 0 || w.idle > failover {
		return fmt.Errorf("writer %s: %d writes were acknowledged, the last %s before its end", w.name, acked, w.idle)
	}
	if err := w.checkSoFar(ctx, c); err != nil {
		return err
	}
	acked := w.acknowledged()
	counter, err := c.CoreV1().ConfigMaps(writerNamespace).Get(ctx, w.name+"-counter", metav1.GetOptions{})
	if err != nil {
		return err
	}
	// One more than acknowledged may have arrived when the writer stopped.
	if n, err := strconv.Atoi(counter.Data["number"]); err != nil || n < acked-1 || n > acked {
		return fmt.Errorf("writer %s: the counter is %q, and %d was acknowledged last", w.name, counter.Data["number"], acked-1)
	}
	return nil
}

// checkSoFar reads back what was acknowledged by now; the writer may go on.
func (w *writer) checkSoFar(ctx context.Context, c kubernetes.Interface) error {
	acked := w.acknowledged()
	list, err := c.CoreV1().ConfigMaps(writerNamespace).List(ctx, metav1.ListOptions{LabelSelector: "writer=" + w.name})
	if err != nil {
		return err
	}
	found := map[string]string{}
	for _, cm := range list.Items {
		found[cm.Name] = cm.Data["number"]
	}
	for n := range acked {
		if got, ok := found[w.object(n)]; !ok || got != strconv.Itoa(n) {
			return fmt.Errorf("writer %s: write %d of %d was acknowledged and is lost (there: %t, value %q)", w.name, n, acked, ok, got)
		}
	}
	return nil
}
