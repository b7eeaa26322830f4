package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// faultRow is a row of faults.md.
type faultRow struct {
	number int
	tested string // how
	seen   string // on what
}

var faultLine = regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)

func faultRows(t *testing.T, page string) []faultRow {
	t.Helper()
	var rows []faultRow
	for _, m := range faultLine.FindAllStringSubmatch(page, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, faultRow{n, m[4], m[5]})
	}
	return rows
}

// testSources is the text of all test files, by path.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("..", func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		data, err := os.ReadFile(file)
		all[file] = string(data)
		return err
	})
	if err != nil || len(all) < 50 {
		t.Fatalf("found %d test files, %v", len(all), err)
	}
	return all
}

// TestFaultsAreTestedAsThePageSays counts the rows and holds them to the
// page's own sentence.
func TestFaultsAreTestedAsThePageSays(t *testing.T) {
	t.Parallel()
	page := read(t, "faults.md")
	count := map[string]int{}
	for i, r := range faultRows(t, page) {
		if r.number != i+1 {
			t.Fatalf("row %d has the number %d", i+1, r.number)
		}
		count[r.seen]++
		count["rows"]++
		named := strings.Contains(r.tested, "`Test")
		chaos := strings.Contains(r.tested, "`TestChaos`, `")
		switch r.seen {
		case "real":
			if !regexp.MustCompile("`(TestMigration|TestRealEtcd|TestKilledJournalHasAllThatItAcknowledged|TestScripts)`").MatchString(r.tested) {
				t.Errorf("row %d: none of its tests is on the real thing", r.number)
			}
		case "real, make chaos":
			if !chaos {
				t.Errorf("row %d names no fault of TestChaos", r.number)
			}
		case "memory":
			if !named || chaos {
				t.Errorf("row %d: no test is named, or one that is real", r.number)
			}
		case "not tested":
			if !strings.HasPrefix(r.tested, "none") {
				t.Errorf("row %d is not tested, and names a test", r.number)
			}
		default:
			t.Errorf("row %d was seen on %q", r.number, r.seen)
		}
	}
	tested := count["rows"] - count["not tested"]
	t.Logf("%d rows: %d tested (%d real, %d real by make chaos alone, %d memory), %d not tested",
		count["rows"], tested, count["real"], count["real, make chaos"], count["memory"], count["not tested"])
	says := regexp.MustCompile(`Of (\d+) faults,\s+(\d+)\s+are\s+tested:\s+(\d+)\s+on\s+the\s+real\s+thing,\s+(\d+)\s+more\s+on\s+it\s+in\s+` + "`make chaos`" + `,\s+(\d+)\s+in\s+memory.\s+(\d+)\s+are\s+not`).FindStringSubmatch(page)
	if says == nil {
		t.Fatal("the page does not say how many rows are tested")
	}
	for i, is := range []int{count["rows"], tested, count["real"], count["real, make chaos"], count["memory"], count["not tested"]} {
		if says[i+1] != strconv.Itoa(is) {
			t.Errorf("%q: number %d of it is %d", says[0], i+1, is)
		}
	}
	if count["rows"] != 64 {
		t.Errorf("there are %d rows", count["rows"])
	}
}

// TestFaultsNameTestsThatAreThere looks every name up: tests, subtests,
// stages, faults of chaos and scripts.
func TestFaultsNameTestsThatAreThere(t *testing.T) {
	t.Parallel()
	sources := testSources(t)
	var all, chaos strings.Builder
	for file, text := range sources {
		all.WriteString(text)
		if strings.HasPrefix(filepath.Base(file), "chaos_") {
			chaos.WriteString(text)
		}
	}
	stages := sources[filepath.Join("..", "e2e", "scenario_test.go")]
	page := read(t, "faults.md")
	for _, name := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(all.String(), "\nfunc "+name[1]+"(t *testing.T)") {
			t.Errorf("there is no test %s", name[1])
		}
	}
	found := 0
	look := func(pattern string, there func(name string) bool) {
		for _, r := range faultRows(t, page) {
			for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(r.tested, -1) {
				found++
				if !there(m[1]) {
					t.Errorf("row %d: there is no %s", r.number, m[0])
				}
			}
		}
	}
	look(`stage "([^"]+)"`, func(name string) bool { return strings.Contains(stages, `{"`+name+`", `) })
	look(`subtest "([^"]+)"`, func(name string) bool {
		return regexp.MustCompile(`(\{|name: |\t)"` + regexp.QuoteMeta(name) + `"[,:]`).MatchString(all.String())
	})
	look("`([a-zA-Z]+\\((?:\"[a-z0-9]+\")?)\\)`", func(name string) bool { return strings.Contains(chaos.String(), name) })
	look("`([a-z-]+\\.txtar)`", func(name string) bool {
		_, err := os.Stat(filepath.Join("..", "cmd", "migrate", "testdata", "script", name))
		return err == nil
	})
	if found < 45 {
		t.Errorf("found %d names only", found)
	}
}
