package playground

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
)

// stored is an object's size as the API server gives it to etcd, without what
// the server adds, and its data.
func stored(t *testing.T, body runtime.Object) (size int, data []byte) {
	t.Helper()
	switch o := body.(type) {
	case *corev1.ConfigMap:
		return o.Size(), []byte(o.Data["settings"])
	case *corev1.Secret:
		return o.Size(), o.Data["data"]
	}
	t.Fatalf("a %T", body)
	return 0, nil
}

// Another `up`, perhaps of another build of this program, must find what an
// interrupted one wrote: names may never change. The data may, but rehearsals
// are then no longer alike.
func TestObjectsAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	var got []string
	for _, n := range []int{0, 2, 4, 10, 99, 100, 29_999, maxObjects - 1} {
		o := objectAt(n)
		size, data := stored(t, o.body())
		if _, again := stored(t, objectAt(n).body()); !bytes.Equal(data, again) {
			t.Errorf("%s has other data the second time", o.key())
		}
		got = append(got, fmt.Sprintf("%s %d", o.key(), size))
	}
	want := []string{
		"configmaps/objects-1/settings-000000 1107",
		"secrets/objects-1/certificate-000002 5369",
		"secrets/objects-1/release-000004 13547",
		"configmaps/objects-2/settings-000010 1588",
		"secrets/objects-10/release-000099 9743",
		"configmaps/objects-1/settings-000100 785",
		"secrets/objects-10/release-029999 23525",
		"secrets/objects-10/release-199999 9190",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestObjectsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for i := range maxObjects {
		o := objectAt(i)
		if seen[o.key()] {
			t.Fatalf("%s is there twice", o.key())
		}
		seen[o.key()] = true
		if problems := validation.IsDNS1123Subdomain(o.name); len(problems) > 0 {
			t.Fatalf("%s: %v", o.name, problems)
		}
	}
}

// The number of objects stands for bytes in etcd, whatever the number: part
// of objectBytes is what the API server and etcd add, 1.1 KB (measured).
func TestObjectsMakeTheBytesTheyStandFor(t *testing.T) {
	t.Parallel()
	const added = 1100
	total, largest := 0, 0
	namespaced := map[string]int{}
	var all bytes.Buffer
	squeezed := gzip.NewWriter(&all)
	for i := range 3000 {
		o := objectAt(i)
		size, data := stored(t, o.body())
		total, largest = total+size, max(largest, size)
		namespaced[o.namespace] += size
		if _, err := squeezed.Write(data); err != nil {
			t.Fatal(err)
		}
		if n := i + 1; n == 300 || n == 1000 || n == 3000 {
			if mean := total/n + added; mean < objectBytes*95/100 || mean > objectBytes*105/100 {
				t.Errorf("%d objects: %d bytes each, want %d within 5 %%", n, mean, objectBytes)
			}
		}
	}
	if err := squeezed.Close(); err != nil {
		t.Fatal(err)
	}
	if all.Len() < total*9/10 {
		t.Errorf("gzip makes %d of %d bytes", all.Len(), total)
	}
	if largest > 64<<10 {
		t.Errorf("the largest is %d bytes: an object of that size is no longer like the others", largest)
	}
	if len(namespaced) != namespaces {
		t.Errorf("%d namespaces", len(namespaced))
	}
	for name, size := range namespaced {
		if size < total/namespaces*8/10 || size > total/namespaces*12/10 {
			t.Errorf("%s has %d bytes of %d", name, size, total)
		}
	}
}
