package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// playgroundApp runs `migrate playground` with words and returns its standard
// output, standard error and error.
func playgroundApp(t *testing.T, words ...string) (stdout, stderr string, err error) {
	t.Helper()
	app := newApp()
	var out, errOut bytes.Buffer
	app.Writer, app.ErrWriter = &out, &errOut
	err = app.Run(append([]string{"migrate", "playground"}, words...))
	return out.String(), errOut.String(), err
}

// halfMade makes the folder of a playground whose `up` was interrupted before
// it had a cluster.
func halfMade(t *testing.T) (root string) { return inState(t, "") }

// inState makes the folder of a playground with more in its state.
func inState(t *testing.T, more string) (root string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "lab")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	state := `{"name": "lab", "dir": "` + root + `", "kubernetes": "1.36.3", "workers": 1, "slot": 9` + more + `}`
	if err := os.WriteFile(filepath.Join(dir, "playground.json"), []byte(state), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestPlaygroundMistakesAreSentences(t *testing.T) {
	t.Parallel()
	root := halfMade(t)
	for _, c := range []struct {
		words string
		want  string
	}{
		{"status --dir " + t.TempDir(), "there is no playground playground: run `migrate playground up` first"},
		{"status --dir " + root, "there is no playground playground: say --name lab"},
		{"status --dir " + root + " --name lab -o xml", "-o xml is unknown: say text or json"},
		{"status --dir " + root + " --name lab cp1", `"cp1" is too much`},
		{"stop cp1 --name lab", "--name comes too late: write flags before HOST"},
		{"start", "takes HOST and nothing else"},
		{"ssh", "no host named"},
		{"ssh --dir " + root + " --name lab cp9", `has no host "cp9": name one of lb1, e1`},
		{"ssh --dir " + root + " --name lab cp1", "`migrate playground up` has not got that far"},
		{"up --name Lab", `--name "Lab" is not a playground's name`},
		{"up --kubernetes newest", `--kubernetes "newest" is not a version`},
		{"up --etcd-listen everywhere", "say host or localhost"},
		{"up --objects -1", "--objects -1 is not a number that etcd's 2 GiB can hold"},
		{"up --objects 1000000", "ask for 200000 at most"},
		{"up cp1", `"cp1" is too much`},
	} {
		stdout, _, err := playgroundApp(t, strings.Fields(c.words)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || stdout != "" {
			t.Errorf("%s: error %v, output %q; want %q", c.words, err, stdout, c.want)
		}
	}
}

func TestPlaygroundStatusOfAHalfMadeOne(t *testing.T) {
	t.Parallel()
	root := halfMade(t)
	stdout, _, err := playgroundApp(t, "status", "--dir", root, "--name", "lab")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"half made", "cp1", "198.18.9.11", "w1", "off"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in:\n%s", want, stdout)
		}
	}
	stdout, _, err = playgroundApp(t, "status", "--dir", root, "--name", "lab", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Complete bool
		Hosts    []struct {
			Name, Role, Address string
			On, SSH             bool
		}
	}
	if err := json.Unmarshal([]byte(stdout), &status); err != nil {
		t.Fatal(err)
	}
	if status.Complete || len(status.Hosts) != 8 || status.Hosts[0].Name != "lb1" || status.Hosts[0].Address != "198.18.9.5" || status.Hosts[0].On {
		t.Errorf("status: %+v", status)
	}
}

// Interrupted while objects were written it has a cluster, which another `up`
// goes on with instead of making it again.
func TestPlaygroundStatusSaysWhetherItIsFilled(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{
		`, "ready": true`:                                   "1.36.3, complete\n",
		`, "ready": true, "objects": 500`:                   "not yet filled: `migrate playground up` with the same options writes those of its 500 objects that are missing\n",
		`, "ready": true, "objects": 500, "filled": true`:   "complete, filled with 500 objects\n",
		`, "ready": false, "objects": 500, "filled": false`: "half made",
	} {
		stdout, _, err := playgroundApp(t, "status", "--dir", inState(t, more), "--name", "lab")
		if err != nil || !strings.Contains(stdout, want) {
			t.Errorf("%s: %v, want %q in:\n%s", more, err, want, stdout)
		}
	}
}

func TestPlaygroundDownOfNoneIsDone(t *testing.T) {
	t.Parallel()
	_, stderr, err := playgroundApp(t, "down", "--dir", t.TempDir())
	if err != nil || !strings.Contains(stderr, "nothing to do") {
		t.Errorf("%v, %q", err, stderr)
	}
}
