package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// exception is a key, or all keys with a prefix (then ending in *), whose
// value the migration or the cluster's own work may change.
type exception struct {
	key    string
	reason string
	// ignore are the only parts of the object that may differ: paths of its
	// JSON, their words apart. whole stands for all of it; the object may
	// then be gone as well.
	ignore []string
	// newer: old versions of Kubernetes have no such key.
	newer bool
}

const whole = "*"

func (e exception) covers(key string) bool {
	if prefix, ok := strings.CutSuffix(e.key, "*"); ok {
		return strings.HasPrefix(key, registry+prefix)
	}
	return key == registry+e.key
}

// compareDumps fails for every key of before that is not, byte by byte, what
// it was, but for the exceptions.
func compareDumps(t *testing.T, before, after dump, allowed []exception) {
	t.Helper()
	if len(before.values) < 200 { // an empty cluster has some 300
		t.Fatalf("only %d keys were kept before the migration: the comparison would prove nothing", len(before.values))
	}
	used := map[string]bool{}
	same := 0
	for _, key := range sortedKeys(before.values) {
		was := before.values[key]
		is, there := after.values[key]
		if there && bytes.Equal(was, is) {
			same++
		}
		e, excepted := exceptionFor(key, allowed)
		used[e.key] = true
		if there && bytes.Equal(was, is) || excepted && slices.Contains(e.ignore, whole) {
			continue
		}
		if !there {
			t.Errorf("%s is gone", key)
			continue
		}
		if diff := difference(was, is, e.ignore); diff != "" {
			t.Errorf("%s has changed:\n%s", key, diff)
		}
	}
	for _, e := range allowed {
		if !used[e.key] && !e.newer {
			t.Errorf("the exception for %s covers no key: remove it", e.key)
		}
	}
	t.Logf("of %d keys %d are the same byte by byte", len(before.values), same)
}

// newSecrets names the Secrets of kube-system that are there now and were not
// before: what a join was made with must not stay behind.
func newSecrets(before, after dump) []string {
	const secrets = registry + "secrets/kube-system/"
	var names []string
	for _, key := range sortedKeys(after.values) {
		if _, there := before.values[key]; !there && strings.HasPrefix(key, secrets) {
			names = append(names, strings.TrimPrefix(key, secrets))
		}
	}
	return names
}

func exceptionFor(key string, allowed []exception) (exception, bool) {
	for _, e := range allowed {
		if e.covers(key) {
			return e, true
		}
	}
	return exception{}, false
}

// difference lists what differs between two stored objects apart from the
// parts to ignore, "" for nothing.
func difference(was, is []byte, ignore []string) string {
	a, errA := decode(was)
	b, errB := decode(is)
	if errA != nil || errB != nil {
		return fmt.Sprintf("  the bytes differ (%d before, %d after), and they cannot be read: %v, %v", len(was), len(is), errA, errB)
	}
	for _, path := range ignore {
		remove(a, strings.Fields(path))
		remove(b, strings.Fields(path))
	}
	lines := differences("", a, b)
	if len(lines) == 0 && len(ignore) == 0 {
		lines = []string{fmt.Sprintf("  it reads the same, but the bytes differ (%d before, %d after)", len(was), len(is))}
	}
	return strings.Join(lines, "\n")
}

// differences lists the parts that differ, one a line.
func differences(path string, was, is any) []string {
	var out []string
	switch a := was.(type) {
	case map[string]any:
		if b, ok := is.(map[string]any); ok {
			for _, k := range sortedKeys(union(a, b)) {
				out = append(out, differences(strings.TrimSpace(path+" "+k), a[k], b[k])...)
			}
			return out
		}
	case []any:
		if b, ok := is.([]any); ok && len(a) == len(b) {
			for i := range a {
				out = append(out, differences(fmt.Sprintf("%s [%d]", path, i), a[i], b[i])...)
			}
			return out
		}
	}
	if !reflect.DeepEqual(was, is) {
		out = append(out, fmt.Sprintf("  %s: %.200v → %.200v", path, was, is))
	}
	return out
}

func union(a, b map[string]any) map[string]any {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// decode reads a value as the API server stores it: protobuf behind a magic
// number, or JSON.
func decode(value []byte) (map[string]any, error) {
	if !bytes.HasPrefix(value, []byte("{")) {
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(value, nil, nil)
		if err != nil {
			return nil, err
		}
		return runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	}
	var out map[string]any
	return out, json.Unmarshal(value, &out)
}

// remove takes a part out of an object; [] stands for every item of a list, a
// last word that ends in * for every field that begins so.
func remove(object any, path []string) {
	switch o := object.(type) {
	case map[string]any:
		prefix, many := strings.CutSuffix(path[0], "*")
		switch {
		case len(path) == 1 && many:
			maps.DeleteFunc(o, func(k string, _ any) bool { return strings.HasPrefix(k, prefix) })
		case len(path) == 1:
			delete(o, path[0])
		default:
			remove(o[path[0]], path[1:])
			// An annotation that comes and goes leaves an empty map or none.
			if rest, ok := o[path[0]].(map[string]any); ok && len(rest) == 0 {
				delete(o, path[0])
			}
		}
	case []any:
		if path[0] == "[]" && len(path) > 1 {
			for _, item := range o {
				remove(item, path[1:])
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
