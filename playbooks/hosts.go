package playbooks

import (
	"fmt"
	"strings"
)

// Way is how a host is reached, as the spec says it.
type Way struct {
	Host, Part, Address string
	Login               string // the command
	Rights              string // become, as it is written
}

// head writes what a person has to know before the first step: what the spec has
// chosen, and how its hosts are reached.
func head(b *strings.Builder, d Data) {
	fmt.Fprintf(b, "\nThe spec's choices: a load balancer of the kind %s; etcd is %s, its program %s; kubeadm join has %s and %s.\n",
		d.Balancer, d.Topology, code(d.EtcdBinary), or(code(d.Patches), "no patches", "the patches in "), or(code(d.Ignored), "ignores no error of its preflight", "ignores of its preflight "))
	if len(d.Ways) == 0 {
		return
	}
	b.WriteString("\n| host | part | address | log in with | root's rights |\n|---|---|---|---|---|\n")
	for _, w := range d.Ways {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", cell(w.Host), w.Part, cell(w.Address), cell(code(w.Login)), cell(w.Rights))
	}
	b.WriteString("\nWhere no user is named, it is the one of ~/.ssh/config, else root. Of root's rights, auto is sudo unless the user is root, none is that the user has them.\n")
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// or is a choice behind some words, or the words for none.
func or(choice, none, before string) string {
	if choice == "" {
		return none
	}
	return before + choice
}

// cell is text in a table of Markdown.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
