package show

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes a value for scripts, indented. show.Guard stands behind the writer
// where that is an output.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
