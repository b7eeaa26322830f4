package simulator

import (
	"fmt"
	"path"
	"slices"
	"strings"

	sdunit "github.com/coreos/go-systemd/v22/unit"
)

// unitFile is where a unit's text is, "" where there is none.
func (h *Host) unitFile(name string) string {
	for _, dir := range []string{adminUnits, packageUnits} {
		if file := path.Join(dir, name); h.has(file) {
			return file
		}
	}
	return ""
}

// unit returns a unit, loading it where systemd has not seen it yet.
func (h *Host) unit(name string) (*unit, error) {
	if !strings.Contains(name, ".") {
		name += ".service"
	}
	if u := h.units[name]; u != nil {
		return u, nil
	}
	file := h.unitFile(name)
	if file == "" {
		return nil, fmt.Errorf("Unit %s could not be found.", name) //nolint:staticcheck // systemd's words
	}
	u := &unit{text: h.read(file), state: "inactive"}
	h.units[name] = u
	return u, nil
}

// option returns the values of an option in a unit's text.
func option(text, section, name string) []string {
	options, err := sdunit.DeserializeOptions(strings.NewReader(text))
	if err != nil {
		return nil
	}
	var out []string
	for _, o := range options {
		if o.Section == section && o.Name == name {
			out = append(out, o.Value)
		}
	}
	return out
}

// active says whether a unit runs.
func (h *Host) active(unit string) bool {
	u := h.units[unit]
	return u != nil && u.state == "active"
}

// socket names the socket unit that listens on host:port, "" for none.
func (h *Host) socket(address string) string {
	for name, u := range h.units {
		if u.state == "active" && slices.Contains(option(u.text, "Socket", "ListenStream"), address) {
			return name
		}
	}
	return ""
}
