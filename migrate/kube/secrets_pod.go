package kube

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// veil lets the strings of a pod through that may be shown, and puts others in
// the place of those that are a secret or may be one. Where secrets can stand is
// known, since a pod's fields are: variables, words of commands, headers and
// queries of probes, and what is handed to volume drivers.
type veil struct {
	own     Own
	main    []string // names of the component's own container
	instead string
	drawn   bool // something is hidden
}

var (
	ofContainer  = regexp.MustCompile(`^spec\.(?:containers|initContainers|ephemeralContainers)\[([^\]]*)\]\.(.*)$`)
	variableAt   = regexp.MustCompile(`^env\[(.*)\]\.value$`)
	wordAt       = regexp.MustCompile(`^(.*\.)?(?:command|args)\[(\d+)\]$`)
	headerAt     = regexp.MustCompile(`\.httpHeaders\[(.*)\]\.value$`)
	driverAt     = regexp.MustCompile(`^spec\.volumes\[.*\]\.(csi\.volumeAttributes|flexVolume\.options)\.`)
	plainHeaders = []string{"accept", "host", "user-agent"}
)

// text is what is shown of a string that stands at a path of the pod.
func (v *veil) text(at, value string) string {
	out := v.through(at, value)
	v.drawn = v.drawn || out != value
	return out
}

func (v *veil) through(at, value string) string {
	c := ofContainer.FindStringSubmatch(at)
	if c == nil {
		if key := at[strings.LastIndexByte(at, '.')+1:]; driverAt.MatchString(at) && value != "" || Secret(key, value) {
			return v.instead
		}
		return value
	}
	main, field := slices.Contains(v.main, c[1]), c[2]
	key := field[strings.LastIndexByte(field, '.')+1:]
	if m := variableAt.FindStringSubmatch(field); m != nil {
		if v.own.HarmlessVariable(m[1], value) {
			return value
		}
		return v.instead
	}
	if m := wordAt.FindStringSubmatch(field); m != nil {
		return v.word(value, m[2] == "0" && !strings.HasPrefix(field, "args"), main && m[1] == "")
	}
	if m := headerAt.FindStringSubmatch(field); m != nil && !slices.Contains(plainHeaders, strings.ToLower(m[1])) ||
		strings.HasSuffix(field, ".httpGet.path") && !plainQuery(value) || Secret(key, value) {
		return v.instead
	}
	return value
}

// plainQuery: the health checks of Kubernetes' programs take these two.
func plainQuery(path string) bool {
	_, query, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(query)
	for name := range values {
		if name != "exclude" && name != "verbose" {
			return false
		}
	}
	return err == nil
}

var (
	assigned   = regexp.MustCompile(`(?s)^(--?([A-Za-z][\w.-]*)=)(.*)$`)
	bareFlag   = regexp.MustCompile(`^(--[A-Za-z][\w.-]*|-[A-Za-z])$`)
	plainValue = regexp.MustCompile(`^(true|false|(-?\d{1,6}(\.\d{1,6})?(ns|us|ms|s|m|h|k|[KMGT]i?)?){1,3})$`)
	pathName   = regexp.MustCompile(`(?i)(file|path|dir|directory|folder|config|socket|listen|address|endpoint)$`)
	pathValue  = regexp.MustCompile(`^(unix://)?/[\w./-]*$`)
	placeName  = regexp.MustCompile(`(?i)(listen|address|endpoint|host)$`)
	placeValue = regexp.MustCompile(`^((https?|tcp)://)?[\w.\[\]:-]+$`)
)

// word is one of a command. Of the component's own flags the names are known;
// of another program's, only what can hardly be a secret is let through.
func (v *veil) word(word string, program, main bool) string {
	m := assigned.FindStringSubmatch(word)
	switch {
	case m == nil && (program && !Secret("", word) || bareFlag.MatchString(word) || word == "true" || word == "false"):
		return word
	case m == nil:
		return v.instead
	case Secret(m[2], m[3]):
	case main, plainValue.MatchString(m[3]),
		pathName.MatchString(m[2]) && pathValue.MatchString(m[3]),
		placeName.MatchString(m[2]) && placeValue.MatchString(m[3]):
		return word
	}
	return m[1] + v.instead
}

// mapStrings puts what a function makes of them in the place of a tree's
// strings. It is given each one's path, with the elements of lists named by
// their names.
func mapStrings(at string, v any, with func(at, value string) string) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = mapStrings(strings.TrimPrefix(at+"."+k, "."), v[k], with)
		}
	case []any:
		for i := range v {
			v[i] = mapStrings(elementAt(at, i, v[i]), v[i], with)
		}
	case string:
		return with(at, v)
	}
	return v
}

// elementAt is the path of a list's element.
func elementAt(at string, i int, v any) string {
	if m, ok := v.(map[string]any); ok && m["name"] != nil {
		return fmt.Sprintf("%s[%v]", at, m["name"])
	}
	return fmt.Sprintf("%s[%d]", at, i)
}
