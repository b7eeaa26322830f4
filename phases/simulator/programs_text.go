package simulator

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

// textProgram returns a program that reads text and writes text.
func textProgram(name string) func(program) error {
	switch name {
	case "cat":
		return func(p program) error {
			_, files := p.options()
			text, err := p.input(files)
			p.out("%s", text)
			return err
		}
	case "sha256sum":
		return func(p program) error {
			text, err := p.input(p.args)
			if err == nil {
				p.out("%x  %s\n", sha256.Sum256([]byte(text)), strings.Join(append(p.args, "-")[:1], ""))
			}
			return err
		}
	case "tr":
		return tr
	case "sed":
		return sed
	case "grep":
		return grep
	case "awk":
		return awk
	case "cut":
		return cut
	case "head", "tail", "sort", "wc":
		return func(p program) error { return lineProgram(p, name) }
	case "date":
		return date
	}
	return nil
}

// tr replaces one character by another; both may be escapes.
func tr(p program) error {
	text, err := p.input(nil)
	escapes := strings.NewReplacer(`\0`, "\x00", `\n`, "\n", `\t`, "\t")
	p.out("%s", strings.ReplaceAll(text, escapes.Replace(p.args[0]), escapes.Replace(p.args[1])))
	return err
}

// basic turns a basic regular expression into one of Go's.
func basic(expr string) (*regexp.Regexp, error) {
	swap := strings.NewReplacer(`\(`, "(", `\)`, ")", "(", `\(`, ")", `\)`, `\{`, "{", `\}`, "}", "{", `\{`, "}", `\}`,
		`\+`, "+", `\?`, "?", `\|`, "|", "+", `\+`, "?", `\?`, "|", `\|`)
	return regexp.Compile(swap.Replace(expr))
}

// sed plays one `s` command, with -n and the flag p, or prints a range. With -i
// it is changeInPlace.
func sed(p program) error {
	if p.args[0] == "-i" {
		return changeInPlace(p)
	}
	flags, rest := p.options()
	_, quiet := flags["-n"]
	command := rest[0]
	if m := sedRange.FindStringSubmatch(command); m != nil && quiet {
		return printRange(p, m[1], m[2], rest[1:])
	}
	if command[0] != 's' {
		return fmt.Errorf("-e expression #1: command %q is not played", command)
	}
	parts := strings.Split(command[1:], command[1:2])
	if len(parts) != 4 {
		return fmt.Errorf("-e expression #1: unterminated `s' command")
	}
	expr, err := basic(parts[1])
	if err != nil {
		return err
	}
	with := regexp.MustCompile(`\\(\d)`).ReplaceAllString(strings.ReplaceAll(parts[2], "$", "$$"), "$${$1}")
	text, err := p.input(rest[1:])
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		m := expr.FindStringSubmatchIndex(line)
		if m != nil {
			line = line[:m[0]] + string(expr.ExpandString(nil, with, line, m)) + line[m[1]:]
		}
		if !quiet || m != nil && strings.Contains(parts[3], "p") {
			p.out("%s\n", line)
		}
	}
	return err
}

var inPlace = regexp.MustCompile(`^(s?)/((?:\\.|[^/\\])*)/(?:d|((?:\\.|[^/\\])*)/)$`)

// changeInPlace plays `sed -i -e COMMAND … FILE`; a command is s/PATTERN/TEXT/ or
// /PATTERN/d.
func changeInPlace(p program) error {
	file := p.abs(p.args[len(p.args)-1])
	var lines []string
	for line := range strings.Lines(p.host.read(file)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	for i := 1; i+1 < len(p.args); i += 2 {
		m := inPlace.FindStringSubmatch(p.args[i+1])
		if p.args[i] != "-e" || m == nil {
			return fmt.Errorf("-e expression #%d: command %q is not played", i, p.args[i+1])
		}
		expr, err := basic(m[2])
		if err != nil {
			return err
		}
		lines = slices.DeleteFunc(lines, func(line string) bool { return m[1] == "" && expr.MatchString(line) })
		text := strings.NewReplacer(`\n`, "\n", `\\`, `\`, `\/`, "/", `\&`, "&").Replace(m[3])
		for n, line := range lines {
			if at := expr.FindStringIndex(line); m[1] == "s" && at != nil {
				lines[n] = line[:at[0]] + text + line[at[1]:]
			}
		}
	}
	have := p.host.file(file)
	p.host.put(p.host.Real(file), strings.Join(append(lines, ""), "\n"), have.Mode, have.Owner)
	return nil
}

var sedRange = regexp.MustCompile(`^/(.*)/,/(.*)/p$`)

// printRange prints the lines from one that has begin to one that has end;
// both are plain words.
func printRange(p program, begin, end string, files []string) error {
	text, err := p.input(files)
	inside := false
	for line := range strings.Lines(text) {
		inside = inside || strings.Contains(line, begin)
		if inside {
			p.out("%s", line)
		}
		inside = inside && !strings.Contains(line, end)
	}
	return err
}

// grep plays -c, -q, -v, -x, -w, -F and combinations.
func grep(p program) error {
	if slices.Contains(p.args, "-e") {
		return grepFiles(p)
	}
	var letters string
	flags, rest := p.options()
	for f := range flags {
		letters += strings.TrimPrefix(f, "-")
	}
	has := func(flag string) bool { return strings.Contains(letters, flag) }
	pattern := rest[0]
	if has("F") {
		pattern = regexp.QuoteMeta(pattern)
	} else if expr, err := basic(pattern); err == nil {
		pattern = expr.String()
	}
	if has("x") {
		pattern = "^(?:" + pattern + ")$"
	}
	if has("w") {
		pattern = `\b(?:` + pattern + `)\b`
	}
	expr, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	text, err := p.input(rest[1:])
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if expr.MatchString(line) == has("v") {
			continue
		}
		n++
		if !has("c") && !has("q") {
			p.out("%s\n", line)
		}
	}
	if has("c") {
		p.out("%d\n", n)
	}
	if n == 0 {
		return interp.ExitStatus(1)
	}
	return nil
}

var (
	awkProgram = regexp.MustCompile(`^(.*?)\{ *print \$(\d+) *\}$`)
	awkTerm    = regexp.MustCompile(`^(!?)/(.*)/$`)
)

// awk plays '/RE/ && !/RE/ {print $N}', the condition left out or not.
func awk(p program) error {
	m := awkProgram.FindStringSubmatch(p.args[0])
	if m == nil {
		return fmt.Errorf("the program %q is not played", p.args[0])
	}
	n, err := strconv.Atoi(m[2])
	if err != nil {
		return err
	}
	text, err := p.input(p.args[1:])
	for line := range strings.Lines(text) {
		ok, err := awkMatches(strings.TrimSpace(m[1]), strings.TrimSuffix(line, "\n"))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if words := strings.Fields(line); n <= len(words) {
			p.out("%s\n", words[n-1])
		} else {
			p.out("\n")
		}
	}
	return err
}

func awkMatches(condition, line string) (bool, error) {
	if condition == "" {
		return true, nil
	}
	for term := range strings.SplitSeq(condition, "&&") {
		m := awkTerm.FindStringSubmatch(strings.TrimSpace(term))
		if m == nil {
			return false, fmt.Errorf("the condition %q is not played", term)
		}
		ok, err := regexp.MatchString(m[2], line)
		if err != nil || ok == (m[1] == "!") {
			return false, err
		}
	}
	return true, nil
}

// cut plays -cFROM-TO.
func cut(p program) error {
	_, to, _ := strings.Cut(strings.TrimPrefix(p.args[0], "-c"), "-")
	n, err := strconv.Atoi(to)
	if err != nil {
		return err
	}
	text, err := p.input(nil)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		p.out("%s\n", line[:min(n, len(line))])
	}
	return err
}

// lineProgram plays head -n N, tail -n N, sort -u, sort -n and wc -l.
func lineProgram(p program, name string) error {
	if done, err := firstBytes(p); done {
		return err
	}
	if name == "tail" {
		if done, err := fromByte(p); done {
			return err
		}
	}
	var withValue []string
	if name == "head" || name == "tail" {
		withValue = []string{"-n"}
	}
	flags, rest := p.options(withValue...)
	text, err := p.input(rest)
	if err != nil {
		return err
	}
	lines := slices.Collect(strings.Lines(text))
	switch name {
	case "head", "tail":
		n, err := strconv.Atoi(flags["-n"])
		if err != nil {
			return err
		}
		n = min(n, len(lines))
		if name == "tail" {
			lines = lines[len(lines)-n:]
		} else {
			lines = lines[:n]
		}
	case "sort":
		slices.Sort(lines)
		if _, numeric := flags["-n"]; numeric {
			slices.SortStableFunc(lines, func(a, b string) int { return number(a) - number(b) })
		}
		if _, unique := flags["-u"]; unique {
			lines = slices.Compact(lines)
		}
	case "wc":
		p.out("%d\n", len(lines))
		return nil
	}
	p.out("%s", strings.Join(lines, ""))
	return nil
}

// number is what sort -n sees of a line.
func number(line string) int {
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return 0
	}
	return n
}

// systemdTime is how systemctl show prints a time.
const systemdTime = "Mon 2006-01-02 15:04:05 MST"

// date -d TIME +%s.
func date(p program) error {
	if len(p.args) == 1 && p.args[0] == "+%s.%N" {
		return clockTime(p)
	}
	flags, rest := p.options("-d")
	at := time.Now()
	if text, ok := flags["-d"]; ok {
		var err error
		if at, err = time.Parse(systemdTime, text); err != nil {
			return fmt.Errorf("invalid date '%s'", text)
		}
	}
	if len(rest) != 1 || rest[0] != "+%s" {
		return fmt.Errorf("the format %q is not played", rest)
	}
	p.out("%d\n", at.Unix())
	return nil
}
