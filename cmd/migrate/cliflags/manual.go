package cliflags

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"
)

// Manual makes the pages about all commands of an App.
type Manual struct {
	App *cli.App
	// Intro is the first paragraph of the Markdown page.
	Intro string
	// Exit are the exit statuses, as they stand at the end of descriptions: below
	// the line EXIT STATUS.
	Exit string
}

// Man writes the page for man(1), of section 8: programs of administrators.
func (m Manual) Man(w io.Writer) error {
	app := m.App
	var text bytes.Buffer
	// What go-md2man makes the page's head of.
	fmt.Fprintf(&text, "%% %[1]s 8\n\n# NAME\n\n%[1]s - %[2]s\n\n# SYNOPSIS\n\n**%[1]s** [flags] *command* [flags]\n\n# DESCRIPTION\n\n%[3]s\n\n", app.Name, app.Usage, prose(app.Description))
	fmt.Fprintf(&text, "# FLAGS OF MANY COMMANDS\n\n%s\n# COMMANDS\n\n", manFlags(app.VisibleFlags()))
	Walk(app.Commands, app.Name, func(name string, cmd *cli.Command) {
		fmt.Fprintf(&text, "## %s%s\n\n%s.\n\n%s\n\n%s\n", name, argsOf(cmd), sentence(cmd.Usage), prose(cmd.Description), manFlags(OwnFlags(app, cmd)))
	})
	fmt.Fprintf(&text, "# EXIT STATUS\n\n%s\n", prose(strings.TrimPrefix(m.Exit, "EXIT STATUS\n")))
	_, err := w.Write(md2man.Render(text.Bytes()))
	return err
}

// Markdown writes the page in Markdown.
func (m Manual) Markdown(w io.Writer) error {
	app := m.App
	var text bytes.Buffer
	fmt.Fprintf(&text, "# The command line\n\n%s\n\n%s\n\n", m.Intro, prose(app.Description))
	text.WriteString("| command | |\n|---|---|\n")
	Walk(app.Commands, app.Name, func(name string, cmd *cli.Command) {
		fmt.Fprintf(&text, "| [`%s`](#%s) | %s |\n", name, strings.ReplaceAll(name, " ", "-"), tableCell(cmd.Usage))
	})
	fmt.Fprintf(&text, "\n## Flags of many commands\n\nThey may stand before a command's name or after it.\n\n%s\n", flagTable(app.VisibleFlags()))
	Walk(app.Commands, app.Name, func(name string, cmd *cli.Command) {
		fmt.Fprintf(&text, "## %s\n\n", name)
		if args := argsOf(cmd); args != "" {
			fmt.Fprintf(&text, "`%s [flags]%s`\n\n", name, args)
		}
		fmt.Fprintf(&text, "%s.\n\n", sentence(cmd.Usage))
		if d := prose(cmd.Description); d != "" {
			text.WriteString(d + "\n\n")
		}
		if flags := OwnFlags(app, cmd); len(flags) > 0 {
			text.WriteString(flagTable(flags) + "\n")
		}
	})
	fmt.Fprintf(&text, "## Exit status\n\n```\n%s\n```\n", strings.TrimPrefix(m.Exit, "EXIT STATUS\n"))
	_, err := w.Write(text.Bytes())
	return err
}

// Walk visits the commands that people are shown, each before those below it.
func Walk(commands []*cli.Command, above string, visit func(name string, cmd *cli.Command)) {
	for _, cmd := range commands {
		if cmd.Hidden || cmd.Name == "help" {
			continue
		}
		name := above + " " + cmd.Name
		visit(name, cmd)
		Walk(cmd.Subcommands, name, visit)
	}
}

// OwnFlags are a command's flags without those that all share.
func OwnFlags(app *cli.App, cmd *cli.Command) []cli.Flag {
	shared := map[string]bool{"help": true}
	for _, f := range app.VisibleFlags() {
		shared[f.Names()[0]] = true
	}
	var own []cli.Flag
	for _, f := range cmd.VisibleFlags() {
		if !shared[f.Names()[0]] {
			own = append(own, f)
		}
	}
	return own
}

func argsOf(cmd *cli.Command) string {
	if cmd.ArgsUsage == "" {
		return ""
	}
	return " " + cmd.ArgsUsage
}

// prose is a description without its exit statuses, which have a place of
// their own; its indented lines are commands.
func prose(description string) string {
	text, _, _ := strings.Cut(description, "EXIT STATUS")
	var out strings.Builder
	code := false
	for line := range strings.Lines(strings.TrimRight(text, " \n") + "\n") {
		command := strings.HasPrefix(line, "   ")
		if command != code {
			out.WriteString("```\n")
			code = command
		}
		out.WriteString(strings.TrimPrefix(line, "   "))
	}
	if code {
		out.WriteString("```\n")
	}
	return strings.TrimSpace(out.String())
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// flagWords are a flag's names and the word for its value, and what it is for
// with its default.
func flagWords(f cli.Flag) (names, usage string) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return strings.Join(f.Names(), ", "), ""
	}
	value, usage := "", doc.GetUsage()
	if before, rest, found := strings.Cut(usage, "`"); found && doc.TakesValue() {
		if word, after, closed := strings.Cut(rest, "`"); closed {
			value, usage = " "+word, before+word+after
		}
	}
	if value == "" && doc.TakesValue() {
		value = " VALUE"
	}
	for i, n := range f.Names() {
		if i > 0 {
			names += ", "
		}
		if len(n) > 1 {
			names += "-"
		}
		names += "-" + n
	}
	def := doc.GetDefaultText()
	if doc.TakesValue() && def != "" && def != `""` && !strings.Contains(usage, "default:") {
		usage += " (default: " + strings.Trim(def, `"`) + ")"
	}
	return names + value, usage
}

func flagTable(flags []cli.Flag) string {
	out := "| flag | |\n|---|---|\n"
	for _, f := range flags {
		names, usage := flagWords(f)
		out += fmt.Sprintf("| `%s` | %s |\n", strings.ReplaceAll(names, "|", `\|`), tableCell(usage))
	}
	return out
}

func manFlags(flags []cli.Flag) string {
	out := ""
	for _, f := range flags {
		names, usage := flagWords(f)
		out += fmt.Sprintf("**%s**: %s\n\n", names, usage)
	}
	return out
}

func tableCell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}
