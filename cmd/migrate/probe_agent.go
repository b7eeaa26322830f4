package main

import (
	"errors"
	"net"
	"os"
	"os/signal"
	"syscall"

	"hamigrate/cmd/migrate/cliflags"

	"hamigrate/migrate/nodeprobe"

	"github.com/urfave/cli/v2"
)

const probeAgentName = "probe-agent"

// probeAgentCommand is what runs in the pods of a measurement. It is not for
// people.
func probeAgentCommand() *cli.Command {
	return &cli.Command{
		Name: probeAgentName, Hidden: true, Before: noWords,
		Usage: "probe the API from a pod; started by run and rehearse",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "socket", Required: true}, &cli.StringFlag{Name: "namespace", Required: true},
			&cli.StringFlag{Name: "node", Required: true}, cliflags.Rate(cli.Float64Flag{Name: "rate", Required: true}),
			&cli.StringFlag{Name: "digest", Required: true}, &cli.StringFlag{Name: "run", Required: true},
		},
		Action: func(c *cli.Context) error {
			host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
			if host == "" || port == "" {
				return errors.New("this command runs in a pod that `migrate run` makes, and nowhere else")
			}
			ctx, done := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer done()
			return nodeprobe.Serve(ctx, nodeprobe.AgentConfig{
				Socket: c.String("socket"), Namespace: c.String("namespace"), Node: c.String("node"), Rate: c.Float64("rate"),
				Digest: c.String("digest"), Run: c.String("run"), Service: net.JoinHostPort(host, port),
				Credentials: "/var/run/secrets/kubernetes.io/serviceaccount",
			})
		},
	}
}
