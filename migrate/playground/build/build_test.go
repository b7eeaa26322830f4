package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnsupportedVersionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "1.36", "1.36.2", "v1.36.3", "1.32.9", "2.0.0", "../1.36.3"} {
		cache := filepath.Join(t.TempDir(), "cache")
		_, err := ensure(context.Background(), Request{Kubernetes: version, CacheDir: cache}, &fakeTools{})
		if err == nil || !strings.Contains(err.Error(), "1.33.13, 1.34.4, 1.35.4, 1.36.3") {
			t.Errorf("version %q: got %v, want a refusal that names the supported ones", version, err)
		}
		if exists(cache) {
			t.Errorf("version %q: a refused request made the cache folder", version)
		}
	}
}

func TestNoCacheFolderIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := ensure(context.Background(), Request{Kubernetes: "1.36.3"}, &fakeTools{}); err == nil {
		t.Error("got no error")
	}
}

func TestRelativeFoldersBecomeAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	got, err := ensure(context.Background(), Request{Kubernetes: "1.36.3", CacheDir: "cache"}, &fakeTools{})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "cache", "cluster-1.36.3", "bin"); got.BinDir != want {
		t.Errorf("BinDir is %s, want %s", got.BinDir, want)
	}
}

func TestEnsureMakesEverythingOnce(t *testing.T) {
	t.Parallel()
	cache, fake := t.TempDir(), &fakeTools{}
	var events []Event
	r := Request{Kubernetes: "1.36.3", CacheDir: cache, Progress: func(e Event) { events = append(events, e) }}
	got, err := ensure(context.Background(), r, fake)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "cluster-1.36.3")
	image := func(name, file string) Image {
		return Image{Name: "registry.k8s.io/" + name, Tar: filepath.Join(dir, "images", file+".tar")}
	}
	want := Artifacts{
		Kubernetes: "1.36.3", Etcd: "3.6.8-0", CoreDNS: "v1.14.2", Pause: "3.10.2",
		BinDir: filepath.Join(dir, "bin"),
		Images: []Image{
			image("kube-apiserver:v1.36.3", "kube-apiserver"),
			image("kube-controller-manager:v1.36.3", "kube-controller-manager"),
			image("kube-scheduler:v1.36.3", "kube-scheduler"),
			image("kube-proxy:v1.36.3", "kube-proxy"),
			image("coredns/coredns:v1.14.2", "coredns"),
			image("pause:3.10.2", "pause"),
			image("etcd:3.6.8-0", "etcd"),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"etcd", "etcdctl", "etcdutl", "kubeadm", "kubectl", "kubelet"}, entries(t, got.BinDir)); diff != "" {
		t.Errorf("programs for hosts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"cluster-1.36.3", "coredns-1.14.2", "etcd-3.6.8", "kubernetes-1.36.3", "lock", "network-tools", "pause-3.10.2"}, entries(t, cache)); diff != "" {
		t.Errorf("cache folder (-want +got):\n%s", diff)
	}
	checkEvents(t, events)
	if last := events[len(events)-1]; last.Done != last.Total || last.Left != 0 || last.Part != last.Parts {
		t.Errorf("last event is %+v, want everything done", last)
	}

	before, seen := fake.made(), len(events)
	again, err := ensure(context.Background(), r, fake)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("second call (-first +second):\n%s", diff)
	}
	if after := fake.made(); len(after) != len(before) || len(events) != seen {
		t.Errorf("the second call made %q and reported %+v, want nothing", after[len(before):], events[seen:])
	}
}

// checkEvents checks what Event promises.
func checkEvents(t *testing.T, events []Event) {
	t.Helper()
	last := Event{}
	for i, e := range events {
		if e.Done < last.Done || e.Part < last.Part || e.Done > e.Total || e.Part > e.Parts || e.Left < 0 || e.Title == "" {
			t.Fatalf("event %d is %+v after %+v", i, e, last)
		}
		last = e
	}
}

func TestDamageAndChangeAreMadeAnew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		harm func(dir string) error
		want []string
	}{
		{"image truncated", func(dir string) error { return os.Truncate(dir+"/cluster-1.36.3/images/etcd.tar", 10) }, nil},
		{"cluster's stamp gone", func(dir string) error { return os.Remove(dir + "/cluster-1.36.3/stamp.json") }, nil},
		{"cluster's stamp garbled", func(dir string) error { return os.WriteFile(dir+"/cluster-1.36.3/stamp.json", []byte("{"), 0o644) }, nil},
		{"cluster and pause gone", func(dir string) error {
			return errors.Join(os.RemoveAll(dir+"/cluster-1.36.3"), os.RemoveAll(dir+"/pause-3.10.2"))
		}, []string{"compile pause"}},
		{"cluster and a program gone", func(dir string) error {
			return errors.Join(os.RemoveAll(dir+"/cluster-1.36.3"), os.Remove(dir+"/etcd-3.6.8/etcdctl"))
		}, []string{"compile etcd etcdctl etcdutl"}},
		{"recipes changed", func(dir string) error {
			for _, part := range []string{"cluster-1.36.3", "network-tools"} {
				file := filepath.Join(dir, part, stampFile)
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				changed := strings.Replace(string(text), `"recipe": "`, `"recipe": "0`, 1)
				if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
					return err
				}
			}
			return nil
		}, []string{"packages"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := Request{Kubernetes: "1.36.3", CacheDir: t.TempDir()}
			first, err := ensure(context.Background(), r, &fakeTools{})
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.harm(r.CacheDir); err != nil {
				t.Fatal(err)
			}
			fake := &fakeTools{}
			second, err := ensure(context.Background(), r, fake)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("artifacts (-first +second):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, fake.made()); diff != "" {
				t.Errorf("made again (-want +got):\n%s", diff)
			}
			if !exists(filepath.Join(r.CacheDir, "cluster-1.36.3", stampFile)) {
				t.Error("the cluster has no stamp")
			}
		})
	}
}

func TestRecipesDecideTheDigest(t *testing.T) {
	t.Parallel()
	digest := func(m module) string {
		t.Helper()
		p, err := programs(&fakeTools{}, "f", "Build f", 1, []module{m})
		if err != nil {
			t.Fatal(err)
		}
		return p.digest
	}
	base := digest(pauseModule("3.10", "source"))
	if base != digest(pauseModule("3.10", "source")) {
		t.Error("the same recipe has two digests")
	}
	flags := pauseModule("3.10", "source")
	flags.LDFlags = append(flags.LDFlags, "-X main.other=1")
	for name, m := range map[string]module{"version": pauseModule("3.10.2", "source"), "source": pauseModule("3.10", "other"), "flags": flags} {
		if digest(m) == base {
			t.Errorf("another %s has the same digest", name)
		}
	}
}

func TestInterruptedBuildLeavesNothing(t *testing.T) {
	t.Parallel()
	r := Request{Kubernetes: "1.36.3", CacheDir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	fake := &fakeTools{onCompile: func(_ context.Context, dir string) error {
		if exists(filepath.Join(dir, "etcd")) {
			cancel() // and do not even notice
		}
		return nil
	}}
	if _, err := ensure(ctx, r, fake); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	if diff := cmp.Diff([]string{"kubernetes-1.36.3", "lock"}, entries(t, r.CacheDir)); diff != "" {
		t.Errorf("cache folder (-want +got):\n%s", diff)
	}
	// The one who pulls the plug leaves more: a next call clears it away.
	write(t, filepath.Join(r.CacheDir, newPrefix+"etcd-3.6.8-123", "etcd"), "half")
	write(t, filepath.Join(r.CacheDir, oldPrefix+"kubernetes-1.36.3", "kubelet"), "old")
	resumed := &fakeTools{}
	if _, err := ensure(context.Background(), r, resumed); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(resumed.made(), func(c string) bool { return strings.Contains(c, "kubelet") }) {
		t.Errorf("what was finished was made again: %q", resumed.made())
	}
	for _, name := range entries(t, r.CacheDir) {
		if strings.HasPrefix(name, ".") {
			t.Errorf("%s was left", name)
		}
	}
}

func TestFailedRebuildKeepsNothingHalfMade(t *testing.T) {
	t.Parallel()
	r := Request{Kubernetes: "1.36.3", CacheDir: t.TempDir()}
	broken := errors.New("compiler says no")
	_, err := ensure(context.Background(), r, &fakeTools{onCompile: func(context.Context, string) error { return broken }})
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "build Kubernetes 1.36.3: ") {
		t.Fatalf("got %v, want the compiler's error and what was being built", err)
	}
	if diff := cmp.Diff([]string{"lock"}, entries(t, r.CacheDir)); diff != "" {
		t.Errorf("cache folder (-want +got):\n%s", diff)
	}
}

func TestTwoCallsBuildOnce(t *testing.T) {
	t.Parallel()
	cache, fake := t.TempDir(), &fakeTools{}
	waits := make(chan struct{}, 1)
	var both sync.WaitGroup
	started := make(chan struct{})
	var once sync.Once
	fake.onCompile = func(context.Context, string) error {
		once.Do(func() {
			close(started)
			<-waits
		})
		return nil
	}
	errs := make([]error, 2)
	both.Go(func() {
		_, errs[0] = ensure(context.Background(), Request{Kubernetes: "1.36.3", CacheDir: cache}, fake)
	})
	<-started
	both.Go(func() {
		_, errs[1] = ensure(context.Background(), Request{Kubernetes: "1.36.3", CacheDir: cache, Progress: func(e Event) {
			if strings.HasPrefix(e.Title, "Wait for another build") {
				waits <- struct{}{}
			} else {
				t.Errorf("the call that waited did something: %+v", e)
			}
		}}, fake)
	})
	both.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"compile kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubeadm kubectl",
		"compile etcd etcdctl etcdutl", "compile coredns", "compile pause", "packages",
	}, fake.made()); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
}

func TestImageThatCannotBeMadeIsNamed(t *testing.T) {
	t.Parallel()
	fake := &fakeTools{images: images1363 + "registry.k8s.io/novelty:v1\n"}
	_, err := ensure(context.Background(), Request{Kubernetes: "1.36.3", CacheDir: t.TempDir()}, fake)
	if err == nil || !strings.Contains(err.Error(), "registry.k8s.io/novelty:v1") {
		t.Errorf("got %v, want an error that names the image", err)
	}
}
