package console

import (
	"errors"
	"regexp"
	"strings"

	"hamigrate/migrate"
	"hamigrate/migrate/show"

	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// proposed is a command of ours in a sentence: those that are about a cluster. Its
// words need no quotes, or it is left where it is: a shell would read more into it.
var proposed = regexp.MustCompile("`migrate (preflight|plan|run|rollback|status|verify|certs renew|certs|report|adopt|unlock|backup|restore)([A-Za-z0-9 _./=,:@%+-]*)`")

// noProposal begins what stands behind a command that is only spoken of: one that
// was given wrongly, or that somebody else has running.
var noProposal = regexp.MustCompile(`^( takes | is empty|, journal )`)

// WithFlags adds the flags that name the cluster to the commands in a sentence. They
// stand before others, and so before words.
func WithFlags(text, flags string) string {
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

// LongSentence is what an eye finds a command in.
const LongSentence = 160

// Lines is an error as it is printed. What to do about it begins a line of its
// own, and so does the command that a long sentence proposes. Commands of ours in
// it are about the same cluster as the one that failed.
func Lines(err error, flags string) show.Own {
	text := err.Error()
	edit := func(text string) string { return WithFlags(text, flags) }
	var blocked *migrate.BlockedError
	if errors.As(err, &blocked) && blocked.Remedy != "" {
		if before, ok := strings.CutSuffix(text, ": "+blocked.Remedy); ok {
			todo := remedyInLines(edit(blocked.Remedy), blocked.Command, "  ")
			if blocked.Command == "" {
				todo = commandApart(todo, edit(blocked.Remedy), edit(blocked.Remedy), true)
			}
			return show.Sprintf("%s\n  What to do: %s", show.Edited(headless{err, before}, edit), todo)
		}
	}
	ours, all := ourWords(err)
	return commandApart(show.Edited(err, edit), edit(text), edit(ours), all)
}

// headless is the text of an error without its end. What of it are lines of ours
// is still known.
type headless struct {
	error
	text string
}

func (h headless) Error() string { return h.text }

func (h headless) Unwrap() error { return h.error }

// remedyInLines is what to do about something. The command that it ends with begins
// a line of its own, so that it can be pasted; indent is that of the line before.
func remedyInLines(remedy, command string, indent show.Own) show.Own {
	if before, ok := strings.CutSuffix(remedy, ": "+command); ok && command != "" {
		return show.Sprintf("%s:\n%s  %s", before, indent, command)
	}
	return show.Foreign(remedy)
}

// ourWords is of an error what this program has said: all of it, unless a host, an
// API server or a member of etcd has a word in it. A command in what they say is none
// that we propose. all is false where some of the words are theirs: then only what the
// sentence of ours ends with is surely ours.
func ourWords(err error) (ours string, all bool) {
	var others interface{ QuotesOthers() }
	var api apierrors.APIStatus
	var member interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &others) && !errors.As(err, &api) && !errors.As(err, &member) {
		return err.Error(), true
	}
	var own interface{ OwnWords() string }
	if errors.As(err, &own) {
		return own.OwnWords(), false
	}
	return "", false
}

// atEnd is a command that a sentence ends with, and another way behind it. Between
// quotes a shell reads nothing, so any character may stand there.
var atEnd = regexp.MustCompile(`: ((?:ssh|ssh-keyscan|ssh-keygen|ssh-add|ssh-copy-id|kubectl|systemctl|chmod|chown|sudo)(?: (?:'[^']*'|\\'|[^;()'` + "`" + `])+?)?)( \(or [^()]+\))?$`)

// commandApart puts the command of a long sentence into a line of its own: the one
// that it ends with, else the last one of ours. shown is the sentence as it is
// printed without that, ours what of it are not the words of others.
func commandApart(shown show.Own, sentence, ours string, all bool) show.Own {
	if len(sentence) <= LongSentence || strings.Contains(string(shown), "\n") {
		return shown
	}
	m := atEnd.FindStringSubmatchIndex(ours)
	if m != nil && strings.HasSuffix(sentence, ours[m[0]:]) && strings.ContainsAny(ours[m[2]:m[3]], "-/@'0123456789") { // else it is prose about a program
		out := show.Sprintf("%s:\n  %s", strings.TrimSuffix(sentence, ours[m[0]:]), ours[m[2]:m[3]])
		if m[4] >= 0 {
			out += show.Sprintf("\n %s", ours[m[4]:m[5]])
		}
		return out
	}
	if found := proposed.FindAllString(ours, -1); all && len(found) > 0 {
		return show.Sprintf("%s\n  %s", shown, strings.Trim(found[len(found)-1], "`"))
	}
	return shown
}
