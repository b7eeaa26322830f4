package main

import (
	"runtime"
	"runtime/debug"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/show"

	"github.com/urfave/cli/v2"
)

// commit is set by the Makefile (-ldflags -X main.commit=…).
var commit string

// builtFrom is what `migrate version -o json` prints. It is a contract: fields are
// added, never renamed.
type builtFrom struct {
	Version  string `json:"version"` // as git describes it, or "dev"; "-dirty" where files were not committed
	Commit   string `json:"commit"`  // "unknown" where the build had no repository
	Go       string `json:"go"`
	Platform string `json:"platform"` // linux/amd64
}

// versionCommand says which program this is: for a report of an error, and for scripts.
func versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Before: noWords,
		Usage:  "print the version, the commit and the Go version that this program was built from",
		Flags:  []cli.Flag{cliflags.Output("text", "json")},
		Action: func(c *cli.Context) error {
			b := readBuild()
			if c.String("output") == "json" {
				return show.WriteJSON(c.App.Writer, b)
			}
			show.Fprintf(c.App.Writer, "migrate version %s\n  commit    %s\n  go        %s\n  platform  %s\n", b.Version, b.Commit, b.Go, b.Platform)
			return nil
		},
	}
}

// readBuild is what the Makefile has given; the commit of a program that `go build`
// has made alone is known from the Go command's own record.
func readBuild() builtFrom {
	b := builtFrom{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok && b.Commit == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}
