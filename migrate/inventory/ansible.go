package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ansibleTime bounds ansible-inventory, which may ask a cloud.
const ansibleTime = 30 * time.Second

// withAnsible reads with ansible-inventory, which knows plugins, vaults of
// which it has the password, and its own rules best; and by ourselves where it
// is not there or fails. Our error counts then, for it names the line.
func (r Reader) withAnsible(ctx context.Context, file string, own func() (Inventory, error)) (Inventory, error) {
	if r.Ansible == "" {
		return own()
	}
	data, why := r.list(ctx, file)
	if ctx.Err() != nil {
		return Inventory{}, context.Cause(ctx)
	}
	if why == nil {
		inv, err := Parse(file, data)
		if err == nil {
			return inv, nil
		}
		why = err
	}
	inv, err := own()
	if err != nil {
		return Inventory{}, err
	}
	inv.Notes = append(inv.Notes, fmt.Sprintf("ansible-inventory did not help (%v), so the inventory was read without it; see what it says: ansible-inventory -i %s --list", why, quoted(file)))
	return inv, nil
}

// list runs ansible-inventory. What it says of a mistake is not told: it
// quotes lines of the inventory, and there may be passwords in them.
func (r Reader) list(ctx context.Context, file string) ([]byte, error) {
	path, err := filepath.Abs(file) // a comma would make it a list of hosts, a dash an option
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", file, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, ansibleTime, fmt.Errorf("it took more than %v", ansibleTime))
	defer cancel()
	out := &bounded{}
	cmd := exec.CommandContext(ctx, r.Ansible, "-i", path, "--list")
	// A file that it cannot read is a failure, and nobody is asked for the
	// password of a vault: in a session of its own it has no terminal.
	cmd.Env = append(os.Environ(), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=true", "ANSIBLE_ASK_VAULT_PASS=false", "ANSIBLE_INVENTORY_EXPORT=false")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	cmd.Stdout = out
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.full:
		return nil, fmt.Errorf("it printed more than %d MiB", maxSize>>20)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &exit):
		return nil, fmt.Errorf("it ended with %s", exit.ProcessState)
	case err != nil:
		return nil, fmt.Errorf("it could not be started: %w", err)
	}
	if !json.Valid(out.kept.Bytes()) {
		return nil, errors.New("it printed no JSON")
	}
	return out.kept.Bytes(), nil
}

// bounded keeps output up to a bound, and ends whoever writes more.
type bounded struct {
	kept bytes.Buffer // not embedded: its ReadFrom would be used, which has no bound
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.full = b.full || b.kept.Len()+len(p) > maxSize; b.full {
		return 0, errors.New("too much output")
	}
	return b.kept.Write(p)
}

// quoted is a word as a shell takes it, to be pasted.
func quoted(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./@:") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
