package remote

import (
	"fmt"
	"runtime"
	"strings"
)

// RunsOn compares what `uname -sm` says on a host with what this program was
// built for: a copy of it is run there.
func RunsOn(machine string) error {
	names := map[string]string{"Linux x86_64": "linux/amd64", "Linux aarch64": "linux/arm64", "Linux armv7l": "linux/arm", "Linux ppc64le": "linux/ppc64le", "Linux s390x": "linux/s390x"}
	have := runtime.GOOS + "/" + runtime.GOARCH
	if names[strings.TrimSpace(machine)] != have {
		return fmt.Errorf("this program is built for %s and the host is %s", have, strings.TrimSpace(machine))
	}
	return nil
}
