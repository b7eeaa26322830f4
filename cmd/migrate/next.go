package main

import (
	"errors"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hamigrate/migrate"
	"hamigrate/migrate/remote"
	"hamigrate/migrate/show"

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

// proposed is a command of ours in a sentence: those that are about a cluster. Its
// words need no quotes, or it is left where it is: a shell would read more into it.
var proposed = regexp.MustCompile("`migrate (preflight|plan|run|rollback|status|verify|certs renew|certs|report|adopt|unlock|backup|restore)([A-Za-z0-9 _./=,:@%+-]*)`")

// withFlags adds the flags that name the cluster to the commands in a sentence.
func withFlags(text, flags string) string {
	return proposed.ReplaceAllStringFunc(text, func(command string) string {
		if strings.Contains(command, "--file") || strings.Contains(command, "--journal") {
			return command
		}
		m := proposed.FindStringSubmatch(command)
		return "`migrate " + m[1] + flags + m[2] + "`"
	})
}

// longSentence is what an eye finds a command in.
const longSentence = 160

// inLines is an error as it is printed. What to do about it begins a line of its
// own, and so does the command that a long sentence proposes. Commands of ours in
// it are about the same cluster as the one that failed.
func inLines(err error, flags string) show.Own {
	text := err.Error()
	edit := func(text string) string { return withFlags(text, flags) }
	var blocked *migrate.BlockedError
	if errors.As(err, &blocked) && blocked.Remedy != "" {
		if before, ok := strings.CutSuffix(text, ": "+blocked.Remedy); ok {
			return show.Sprintf("%s\n  What to do: %s", edit(before), edit(blocked.Remedy))
		}
	}
	shown := show.Edited(err, edit)
	if len(text) <= longSentence || strings.Contains(string(shown), "\n") {
		return shown
	}
	if found := proposed.FindAllString(edit(ourWords(err)), -1); len(found) > 0 {
		return show.Sprintf("%s\n  %s", shown, strings.Trim(found[len(found)-1], "`"))
	}
	return shown
}

// ourWords is an error without what a host or the API said: a command in that is
// not one that we propose.
func ourWords(err error) string {
	text := err.Error()
	var exit *remote.ExitError
	if errors.As(err, &exit) {
		text = strings.ReplaceAll(text, strings.TrimSpace(exit.Stderr), "")
	}
	var api apierrors.APIStatus
	if errors.As(err, &api) {
		text = strings.ReplaceAll(text, api.Status().Message, "")
	}
	return text
}
