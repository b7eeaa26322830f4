package playground

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"capital in the name":     {Name: "Lab"},
		"path in the name":        {Name: "../etc"},
		"version with a word":     {Kubernetes: "latest"},
		"unknown shape":           {EtcdListen: "everywhere"},
		"unknown profile":         {Profile: "novice"},
		"too many workers":        {Workers: maxWorkers + 1},
		"fewer objects than none": {Objects: -1},
		"too many objects":        {Objects: maxObjects + 1},
		"sudo user root":          {SudoUser: "root"},
		"sudo user with a slash":  {SudoUser: "a/b"},
		"comma in the folder":     {Dir: "/tmp/a,b"},
		"space in the cache":      {CacheDir: "/tmp/a b"},
	} {
		_, err := o.withDefaults()
		var mistake *UserError
		if !errors.As(err, &mistake) || mistake.Problem == "" || mistake.Remedy == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want a sentence with a remedy", name, err)
		}
	}
}

func TestOptionsWithDefaults(t *testing.T) {
	t.Parallel()
	got, err := Options{Kubernetes: "v1.35.4", Workers: -7}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	want := Options{Name: DefaultName, Dir: DefaultDir, CacheDir: DefaultCacheDir, Kubernetes: "1.35.4", Profile: ProfileClean, EtcdListen: EtcdOnHost, Workers: -1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if got, err = (Options{BinDir: "/opt/bin"}).withDefaults(); err != nil || got.Kubernetes != "" {
		t.Errorf("with binaries: Kubernetes %q, %v; want none", got.Kubernetes, err)
	}
}

// Another wish than the playground was made with must not be taken for the
// same one.
func TestEveryOptionThatShapesAClusterIsCompared(t *testing.T) {
	t.Parallel()
	made, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if diff := made.differs(made); diff != "" {
		t.Errorf("options differ from themselves in %s", diff)
	}
	for name, change := range map[string]func(*Options){
		"--kubernetes":  func(o *Options) { o.Kubernetes = "1.33.13" },
		"--profile":     func(o *Options) { o.Profile = ProfileVeteran },
		"--etcd-listen": func(o *Options) { o.EtcdListen = EtcdOnLocalhost },
		"--workers":     func(o *Options) { o.Workers = 1 },
		"--sudo-user":   func(o *Options) { o.SudoUser = "operator" },
		"--spare":       func(o *Options) { o.Spare = true },
		"--hardened":    func(o *Options) { o.Hardened = true },
		"--objects":     func(o *Options) { o.Objects = 30_000 },
	} {
		want := made
		change(&want)
		if diff := made.differs(want); !strings.HasPrefix(diff, name) {
			t.Errorf("%s: differs says %q", name, diff)
		}
	}
}

func TestObjectsThatDoNotFitIntoMemoryAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		objects, available int
		want               string
	}{
		{0, 0, ""},
		{30_000, 5 << 20, ""},
		{30_000, 2 << 20, "--objects 30000 takes 4.2 GiB of memory and this machine has 2.0 GiB available: ask for 14316 at most"},
	} {
		err := needMemory(c.objects, c.available)
		if mistake := new(UserError); c.want == "" && err != nil || c.want != "" && (!errors.As(err, &mistake) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d objects in %d KiB: %v", c.objects, c.available, err)
		}
	}
	if total, err := machineMemory("MemTotal"); err != nil || total < 1<<17 {
		t.Errorf("this machine has %d KiB, %v", total, err)
	}
	if _, err := machineMemory("MemNone"); err == nil {
		t.Error("a line that is not there is no error")
	}
}
