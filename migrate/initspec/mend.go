package initspec

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"hamigrate/migrate/cluster"
)

// Spec is a spec file that is ready to be written.
type Spec struct {
	Data   []byte
	Blanks []BlankField
	Choice Choice // as it was taken
}

// Write renders the spec file. What an inventory says and the loader of specs
// refuses, such as a name that no Node can have, becomes a blank, with the
// loader's sentence as a note: the rest of it is of use all the same.
func Write(file string, f Found, c Choice) (Spec, error) {
	data, err := Render(f, c)
	if err != nil {
		return Spec{}, err
	}
	if c.Source != "" {
		mended := false
		for _, mistake := range mistakes(file, data) {
			if c.clear(mistake.Field) {
				mended = true
				c.note("%s of what the inventory %s says is left out: %s", mistake.Field, c.Source, mistake.Problem)
			}
		}
		if mended {
			if data, err = Render(f, c); err != nil {
				return Spec{}, err
			}
		}
	}
	blanks, err := Blanks(file, data)
	if err != nil {
		return Spec{}, fmt.Errorf("what was found makes no spec, and nothing was written: %w", err)
	}
	return Spec{data, blanks, c}, nil
}

// mistakes are what the loader of specs says of a file, but for blanks.
func mistakes(file string, data []byte) []*cluster.FieldError {
	_, err := cluster.ParseBytes(file, data)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var out []*cluster.FieldError
	for _, one := range joined.Unwrap() {
		var field *cluster.FieldError
		if errors.As(one, &field) && !field.Blank {
			out = append(out, field)
		}
	}
	return out
}

// hostField is a field of a host in a list.
var hostField = regexp.MustCompile(`^spec\.(loadBalancer\.hosts|etcd\.hosts|controlPlane\.joining|workers)\[(\d+)\]\.(name|address|ssh\.\w+)$`)

// clear empties a field of the spec, and says whether it could.
func (c *Choice) clear(field string) bool {
	switch field {
	case "spec.endpoint":
		c.Endpoint = ""
		return true
	case "spec.ssh.user", "spec.ssh.port", "spec.ssh.identityFile":
		return c.SSH.clear(field[len("spec."):])
	}
	if rest := "spec.controlPlane.first."; len(field) > len(rest) && field[:len(rest)] == rest {
		return c.First.clear(field[len(rest):])
	}
	match := hostField.FindStringSubmatch(field)
	if match == nil {
		return false
	}
	list := map[string][]Host{"loadBalancer.hosts": c.LoadBalancers, "etcd.hosts": c.Etcd, "controlPlane.joining": c.Joining, "workers": c.Workers}[match[1]]
	i, err := strconv.Atoi(match[2])
	if err != nil || i >= len(list) {
		return false
	}
	switch match[3] {
	case "name":
		list[i].Name = ""
	case "address":
		list[i].Address = ""
	default:
		return list[i].SSH.clear(match[3])
	}
	return true
}

func (s *SSH) clear(field string) bool {
	switch field {
	case "ssh.user":
		s.User = ""
	case "ssh.port":
		s.Port = 0
	case "ssh.identityFile":
		s.IdentityFile = ""
	case "ssh.address":
		s.Address = ""
	default:
		return false
	}
	return true
}
