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

// withFlags adds the flags that name the cluster to the commands in a sentence.
func withFlags(text, flags string) string {
	return proposed.ReplaceAllStringFunc(text, func(command string) string {
		if strings.Contains(command, "--file") || strings.Contains(command, "--journal") {
			return command
		}
		m := proposed.FindStringSubmatch(command)
		if strings.HasPrefix(m[2], " -") {
			return "`migrate " + m[1] + m[2] + flags + "`"
		}
		return "`migrate " + m[1] + flags + m[2] + "`" // flags stand before words
	})
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
	text = withFlags(text, flags)
	first, rest, more := strings.Cut(text, "\n")
	if found := proposed.FindAllString(first, -1); len(first) > longSentence && len(found) > 0 && !more {
		return first + "\n  " + strings.Trim(found[len(found)-1], "`") + rest
	}
	return text
}
