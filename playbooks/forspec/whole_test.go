package forspec

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"hamigrate/migrate/cluster"
	"hamigrate/phases"
	"hamigrate/phases/migration"
	"hamigrate/playbooks"
)

// TestPlaybookSaysTheWholeSpec fills every field of a spec with a value of its
// own, whatever fields there are, and wants each of them in the text: whoever
// works by hand has nothing but that.
func TestPlaybookSaysTheWholeSpec(t *testing.T) {
	t.Parallel()
	not := map[string]string{
		"Fingerprint": "a digest of the other fields",
	}
	var spec cluster.Spec
	filler := filler{want: map[string]string{}}
	filler.fill("", reflect.ValueOf(&spec).Elem())
	if len(filler.want) < 50 {
		t.Fatalf("only %d fields were filled", len(filler.want))
	}
	var text strings.Builder
	for _, p := range migration.Phases(phases.Overlap) {
		if err := playbooks.Render(&text, p, Data(spec)); err != nil {
			t.Fatal(err)
		}
	}
	for field, value := range filler.want {
		_, left := not[field]
		if in := strings.Contains(text.String(), value); in == left {
			t.Errorf("%s (%s): in the text is %v", field, value, in)
		}
	}
}

// filler gives each leaf of a value another value.
type filler struct {
	n    int
	want map[string]string // as it is to be found, by field
}

func (f *filler) fill(name string, v reflect.Value) {
	f.n++
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(time.Duration(1000+f.n) * time.Second))
		f.want[name] = fmt.Sprintf("=%d ", 1000+f.n)
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprintf("value-%d.", f.n))
		f.want[name] = v.String()
	case v.Kind() == reflect.Int:
		v.SetInt(int64(20000 + f.n))
		f.want[name] = fmt.Sprint(v.Int())
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			f.fill(fmt.Sprintf("%s[%d]", name, i), v.Index(i))
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			f.fill(strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."), v.Field(i))
		}
	default:
		panic("no value is known here for " + name)
	}
}
