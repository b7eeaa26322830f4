package external

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
	"time"

	"hamigrate/migrate"
	"hamigrate/migrate/etcdflags"
	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/kube"
	"hamigrate/migrate/remote"
	"hamigrate/phases"
)

const (
	unitDir   = "/etc/systemd/system"
	relayName = "migrate-etcd-peer-relay"
)

// peerRelay lets members on other hosts reach an old member that listens on
// localhost only: a socket of systemd's on the host's address, passed to
// 127.0.0.1 by systemd-socket-proxyd. A DNAT rule would not do:
// net.ipv4.conf.*.route_localnet is off. Changing the listener itself would
// restart etcd, and with it the only API server.
func peerRelay() phases.Step {
	return phases.Step{
		ID:     peerRelayID,
		Title:  "Relay the old member's peer port to the host's address",
		Why:    "The old member listens on localhost only; restarting it to change that would cost a minute without an API.",
		On:     migrate.FirstControlPlane,
		When:   overlapped(),
		ByHand: peerRelayByHand(),
		Check:  checkPeerRelay,
		Apply:  applyPeerRelay,
		Verify: oldMemberReached,
		Undo:   undoPeerRelay,
		Settle: 30 * time.Second,
	}
}

// firstPeerAddress is where members on other hosts reach the old member.
func firstPeerAddress(v phases.Reader) string {
	return net.JoinHostPort(v.First().Address, strconv.Itoa(etcdflags.EtcdPeerPort))
}

// peerRelayByHand shows the very units that the step writes.
func peerRelayByHand() string {
	socket, service := relayUnits("{{.First.Address}}:2380", "127.0.0.1:2380")
	return "```\ngrep listen-peer-urls /etc/kubernetes/manifests/etcd.yaml    # the host's address is there: nothing to do\n```\n\n" +
		"Else write " + path.Join(unitDir, relayName+".socket") + ":\n\n```\n" + socket + "```\n\nand " + path.Join(unitDir, relayName+".service") + ":\n\n```\n" + service +
		"```\n\n```\nsystemctl daemon-reload && systemctl enable --now " + relayName + ".socket\n```\n"
}

func relayUnits(address, target string) (socket, service string) {
	socket = fmt.Sprintf(`[Unit]
Description=Relay of the etcd peer port while members move to other hosts (migrate)

[Socket]
ListenStream=%s
FreeBind=true

[Install]
WantedBy=sockets.target
`, address)
	// The program's folder differs between distributions; systemd finds
	// neither by itself.
	service = fmt.Sprintf(`[Unit]
Description=Relay of the etcd peer port while members move to other hosts (migrate)
Requires=%[1]s.socket
After=%[1]s.socket

[Service]
ExecStart=/bin/sh -c 'for d in /usr/lib/systemd /lib/systemd; do [ -x $$d/systemd-socket-proxyd ] && exec $$d/systemd-socket-proxyd %[2]s; done; exit 127'
PrivateTmp=yes
`, relayName, target)
	return socket, service
}

func checkPeerRelay(ctx context.Context, v phases.Reader) (migrate.Finding, error) {
	old, running, err := v.OldEtcd(ctx)
	if err != nil {
		return migrate.Finding{}, err
	}
	if !running {
		return phases.Done("no etcd runs on %s any more", v.Target()), nil
	}
	if blocked, err := notForced(ctx, v); err != nil || blocked.Verdict == migrate.Blocked {
		return blocked, err
	}
	if !old.LocalOnly {
		return phases.Done("the old member's peer listener is not on localhost only"), nil
	}
	socket, service := relayUnits(firstPeerAddress(v), old.PeerAddress)
	r := v.On(v.Target())
	if state, err := r.Look(ctx, remote.Command{Script: "systemctl is-active " + relayName + ".socket || true", Waits: true}); err != nil {
		return migrate.Finding{}, err
	} else if strings.TrimSpace(state) == "active" {
		return phases.Done("%s is relayed to %s", firstPeerAddress(v), old.PeerAddress), nil
	}
	switch has, err := hostfiles.Confirms(ctx, r, remote.Command{Script: "[ -x /usr/lib/systemd/systemd-socket-proxyd ] || [ -x /lib/systemd/systemd-socket-proxyd ]"}); {
	case err != nil:
		return migrate.Finding{}, err
	case !has:
		return phases.Block("install the systemd package's systemd-socket-proxyd", "%s has no systemd-socket-proxyd", v.Target()), nil
	}
	f := phases.Need(migrate.Before{"relay": "absent"}, "the old member listens for members on %s only", old.PeerAddress)
	f.Changes = []migrate.Change{
		{Object: v.Target() + ":" + path.Join(unitDir, relayName+".socket"), After: socket},
		{Object: v.Target() + ":" + path.Join(unitDir, relayName+".service"), After: service},
	}
	return f, nil
}

func applyPeerRelay(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	old, running, err := h.OldEtcd(ctx)
	if err != nil {
		return err
	}
	if !running {
		return errors.New("the old member has stopped")
	}
	return setUpRelay(ctx, h, old.PeerAddress)
}

// setUpRelay passes the host's address on to target.
func setUpRelay(ctx context.Context, h phases.Writer, target string) error {
	host := h.On(h.Target())
	socket, service := relayUnits(firstPeerAddress(h.Reader), target)
	for _, f := range []remote.File{
		{Path: path.Join(unitDir, relayName+".service"), Data: []byte(service), Mode: 0o644},
		{Path: path.Join(unitDir, relayName+".socket"), Data: []byte(socket), Mode: 0o644},
	} {
		if err := host.WriteFile(ctx, f); err != nil {
			return err
		}
	}
	script := "set -e; systemctl daemon-reload; systemctl enable --now --quiet " + relayName + ".socket"
	if _, err := host.Run(ctx, remote.Command{Script: script, Waits: true}); err != nil {
		return fmt.Errorf("starting the relay on %s: %w", h.Target(), err)
	}
	return nil
}

// oldMemberReached goes from every etcd host to the old member, through the
// relay where there is one, up to the certificate that it shows there.
func oldMemberReached(ctx context.Context, v phases.Reader) error {
	for _, h := range v.Spec().Etcd.Hosts {
		if _, err := kube.ServedCertificate(ctx, v.On(h.Name).DialContext, firstPeerAddress(v), nil); err != nil {
			return fmt.Errorf("reaching the old member's peer port from %s: %w", h.Name, err)
		}
	}
	return nil
}

// undoPeerRelay removes the relay when nobody needs it any more.
func undoPeerRelay(ctx context.Context, h phases.Writer, _ migrate.Before) error {
	if err := alone(ctx, h.Reader); err != nil {
		return fmt.Errorf("the relay stays: %w", err)
	}
	return takeRelayDown(ctx, h)
}
