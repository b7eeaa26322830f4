package main

import (
	"errors"
	"regexp"
	"strings"

	"hamigrate/migrate"

	"github.com/urfave/cli/v2"
)

// next is a command for the same cluster: the flags that name it are repeated as
// they were given. Every command that is proposed to an operator is made here, or
// by withFlags where only the sentence is known.
func (s *session) next(words string) string { return "migrate " + words + s.given }

// givenFlags is where an App keeps them for whoever prints an error.
const givenFlags = "flags that name the cluster"

// remember keeps the flags that name the cluster, for the commands in an error.
func remember(c *cli.Context) error {
	c.App.Metadata[givenFlags] = flagsGiven(c)
	return nil
}

func remembered(app *cli.App) string {
	flags, _ := app.Metadata[givenFlags].(string)
	return flags
}

// proposed is a command of ours in a sentence: those that are about a cluster.
var proposed = regexp.MustCompile("`migrate (preflight|plan|run|rollback|status|verify|certs renew|certs|report|adopt|unlock|backup|restore)([^`]*)`")

// noProposal begins what stands behind a command that is only spoken of: one that
// was given wrongly, or that somebody else has running.
var noProposal = regexp.MustCompile(`^( takes | is empty|, journal )`)

// withFlags adds the flags that name the cluster to the commands in a sentence. They
// stand before others, and so before words.
func withFlags(text, flags string) string {
	var b strings.Builder
	at := 0
	for _, m := range proposed.FindAllStringSubmatchIndex(text, -1) {
		command := text[m[0]:m[1]]
		if strings.Contains(command, "--file") || strings.Contains(command, "--journal") || noProposal.MatchString(text[m[1]:]) {
			continue
		}
		b.WriteString(text[at:m[3]] + flags)
		at = m[3]
	}
	return b.String() + text[at:]
}

// longSentence is what an eye finds a command in.
const longSentence = 160

// inLines is an error as it is printed. What to do about it begins a line of its
// own, and so does the command that a long sentence proposes. Commands of ours in
// it are about the same cluster as the one that failed.
func inLines(err error, flags string) string {
	text := err.Error()
	var blocked *migrate.BlockedError
	if errors.As(err, &blocked) && blocked.Remedy != "" {
		if before, ok := strings.CutSuffix(text, ": "+blocked.Remedy); ok {
			text = before + "\n  What to do: " + blocked.Remedy
		}
	}
	lines := strings.Split(withFlags(text, flags), "\n")
	for i, line := range lines {
		if len(line) > longSentence {
			lines[i] = commandApart(line)
		}
	}
	return strings.Join(lines, "\n")
}

// atEnd is a command that a sentence ends with, and another way behind it.
var atEnd = regexp.MustCompile(`: ((?:ssh|ssh-keyscan|ssh-keygen|ssh-add|ssh-copy-id|kubectl|systemctl|chmod|chown|sudo)(?: [^;()` + "`" + `]+?)?)( \(or [^()]+\))?$`)

// commandApart puts the command of a long sentence into a line of its own: the one
// that it ends with, else the last one of ours.
func commandApart(line string) string {
	m := atEnd.FindStringSubmatchIndex(line)
	if m != nil && strings.ContainsAny(line[m[2]:m[3]], "-/@'0123456789") { // else it is prose about a program
		out := line[:m[0]] + ":\n  " + line[m[2]:m[3]]
		if m[4] >= 0 {
			out += "\n " + line[m[4]:m[5]]
		}
		return out
	}
	if found := proposed.FindAllString(line, -1); len(found) > 0 {
		return line + "\n  " + strings.Trim(found[len(found)-1], "`")
	}
	return line
}
