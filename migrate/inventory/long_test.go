package inventory

import (
	"fmt"
	"strings"
	"testing"

	"hamigrate/internal/within"
)

// TestLongNames: a name that no host or group has is refused where it is read, and
// what is told of it is short. A value of such a length is left out.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("a", 5<<20)
	for text, want := range map[string]string{
		"[masters]\n%s\n":                                  "h:2: \"aaaa",
		"[masters]\n%s ansible_host=192.0.2.1\n":           "h:2: \"aaaa",
		"[%s]\ncp1\n":                                      "h:1: \"aaaa",
		"[masters]\ncp1\n[all:children]\n%s\n":             "h:4: \"aaaa",
		"all: {hosts: [%s]}\n":                             "h:1: \"aaaa",
		`{"all": {"children": ["%s"]}}`:                    "h: \"aaaa",
		`{"masters": {"hosts": ["%s"]}}`:                   "h: \"aaaa",
		"[masters]\ncp1\n[masters:vars]\n%s\n":             "h:4: \"aaaa",
		"[masters]\ncp1 %s\n":                              "h:2: \"aaaa",
		"[masters]\ncp1 ansible_host=%s\n":                 "",
		"[masters]\ncp1 ansible_ssh_private_key_file=%s\n": "",
		"[masters]\ncp1 ansible_user=%s ansible_port=%s\n": "",
	} {
		name := "h"
		if strings.HasPrefix(text, "all:") {
			text = "---\n" + text
			want = strings.Replace(want, "h:1", "h:2", 1)
		}
		var got Inventory
		var err error
		within.Bounds(t, func() { got, err = Parse(name, []byte(strings.ReplaceAll(text, "%s", long))) })
		said := fmt.Sprint(err, got)
		if len(said) > 2000 {
			t.Errorf("%.40s: %d letters are told: %.200s", text, len(said), said)
		}
		switch {
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)):
			t.Errorf("%.40s: %.300s, want %s", text, said, want)
		case want == "" && (err != nil || len(got.Notes) == 0):
			t.Errorf("%.40s: %.300s", text, said)
		}
	}
}
