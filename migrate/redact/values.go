package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// JSON is v as JSON with every text in it redacted, and then changed by more,
// which may be nil. Texts are redacted before they are encoded: in JSON their line
// breaks are none. A text below a name such as "password" is hidden as a whole.
func JSON(v any, more func(string) string) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding what is to be redacted: %w", err)
	}
	in := json.NewDecoder(bytes.NewReader(data))
	in.UseNumber()
	var tree any
	if err := in.Decode(&tree); err != nil {
		return nil, fmt.Errorf("reading what is to be redacted: %w", err)
	}
	if more == nil {
		more = func(s string) string { return s }
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(walk(tree, more)); err != nil {
		return nil, fmt.Errorf("encoding what was redacted: %w", err)
	}
	return out.Bytes(), nil
}

func walk(v any, more func(string) string) any {
	switch v := v.(type) {
	case string:
		return more(Text(v))
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = walk(v[i], more)
			if i == 0 {
				continue
			}
			if before, _ := v[i-1].(string); flagOnly.MatchString(before) {
				out[i] = hideTexts(out[i])
			}
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			shown := walk(value, more)
			switch {
			case named(name):
				shown = hideTexts(shown)
			case name == "stringData", name == "data" && v["kind"] == "Secret":
				shown = hideEach(shown)
			}
			out[more(Text(name))] = shown
		}
		return out
	}
	return v
}

// hideTexts hides a text, or those of a list.
func hideTexts(v any) any {
	switch v := v.(type) {
	case string:
		if v != "" {
			return hidden
		}
	case []any:
		for i := range v {
			v[i] = hideTexts(v[i])
		}
	}
	return v
}

// hideEach hides the texts of what has names.
func hideEach(v any) any {
	if all, ok := v.(map[string]any); ok {
		for name := range all {
			all[name] = hideTexts(all[name])
		}
	}
	return v
}

// named says whether what has this name is a secret.
func named(name string) bool {
	const probe = "probe"
	return strings.Contains(words(name+": "+probe, deepest), hidden) && !strings.Contains(words(name, deepest), hidden)
}
