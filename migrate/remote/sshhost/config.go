package sshhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// includeDepth is how deep Include may nest; ssh(1) has 16, and the library
// that reads what is included inside of a Host block has 5.
const includeDepth = 5

// userConfig is ~/.ssh/config. A host of the spec has two names there: its
// name and its address; people write either behind Host.
type userConfig struct {
	path string
	home string
	// file is nil where there is no such file.
	file *ssh_config.Config
	// skipped are Match blocks that this program does not decide on.
	skipped []string
}

// readUserConfig reads the file. One that is not there says nothing.
func readUserConfig(home string) (*userConfig, error) {
	c := &userConfig{path: filepath.Join(home, ".ssh", "config"), home: home}
	text, err := c.flatten(c.path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.path, err)
	}
	if c.file, err = ssh_config.DecodeBytes([]byte(text)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.path, err)
	}
	return c, nil
}

// flatten returns a file with what it includes outside of Host blocks put in
// its place, so that the order of all is the order of the text: for ssh(1)
// the first value wins. An Include inside of a Host block stays and holds for
// that block; only its path is made absolute. Match blocks that ask for more
// than the host are left out, for they cannot be decided on here.
func (c *userConfig) flatten(file string, depth int) (string, error) {
	if depth > includeDepth {
		return "", fmt.Errorf("%s: Include nests deeper than %d", file, includeDepth)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	everywhere, skipping := true, false
	for i, line := range strings.Split(string(data), "\n") {
		word, rest := keyword(line)
		switch word {
		case "host":
			everywhere, skipping = rest == "*", false
		case "match":
			words := strings.Fields(strings.ToLower(rest))
			everywhere = len(words) == 1 && words[0] == "all"
			if skipping = !everywhere && (len(words) < 2 || words[0] != "host"); skipping {
				c.skipped = append(c.skipped, fmt.Sprintf("%s line %d: Match %s", file, i+1, rest))
			}
		case "include":
			if skipping {
				continue
			}
			text, err := c.include(rest, everywhere, depth)
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			continue
		}
		if !skipping {
			out.WriteString(line + "\n")
		}
	}
	return out.String(), nil
}

// include returns what stands for an Include line.
func (c *userConfig) include(patterns string, everywhere bool, depth int) (string, error) {
	var out strings.Builder
	for _, pattern := range words(patterns) {
		pattern = expand(pattern, c.home)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(c.home, ".ssh", pattern)
		}
		if !everywhere {
			fmt.Fprintf(&out, "Include %s\n", pattern)
			continue
		}
		files, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("Include %s: %w", pattern, err)
		}
		for _, file := range files {
			text, err := c.flatten(file, depth+1)
			if err != nil {
				return "", err
			}
			out.WriteString("Host *\n" + text + "Host *\n")
		}
	}
	return out.String(), nil
}

// keyword is the first word of a line, in lower case, and the rest.
func keyword(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, " \t=")
	if end < 0 || strings.HasPrefix(line, "#") {
		return "", ""
	}
	rest = strings.TrimSpace(line[end:])
	rest = strings.TrimSpace(strings.TrimPrefix(rest, "="))
	if at := strings.Index(rest, " #"); at >= 0 {
		rest = strings.TrimSpace(rest[:at])
	}
	return strings.ToLower(line[:end]), rest
}

// words splits a value that may hold several, some in double quotes.
func words(value string) []string {
	var out []string
	for value = strings.TrimSpace(value); value != ""; value = strings.TrimSpace(value) {
		var word string
		if rest, quoted := strings.CutPrefix(value, `"`); quoted {
			word, value, _ = strings.Cut(rest, `"`)
		} else if end := strings.IndexAny(value, " \t"); end >= 0 {
			word, value = value[:end], value[end:]
		} else {
			word, value = value, ""
		}
		out = append(out, word)
	}
	return out
}

// all returns every value of a keyword for a host with these names, in the
// order of the file.
func (c *userConfig) all(names []string, key string) []string {
	if c.file == nil {
		return nil
	}
	var out []string
	for _, block := range c.file.Hosts {
		if !matches(block, names) {
			continue
		}
		for _, node := range block.Nodes {
			switch n := node.(type) {
			case *ssh_config.KV:
				if strings.EqualFold(n.Key, key) && n.Value != "" {
					out = append(out, n.Value)
				}
			case *ssh_config.Include:
				for _, name := range names {
					// Its error is always nil: the files were parsed before.
					if values, _ := n.GetAll(name, key); len(values) > 0 {
						out = append(out, values...)
						break
					}
				}
			}
		}
	}
	return out
}

// first is the value that counts for a keyword that has one.
func (c *userConfig) first(names []string, key string) string {
	if values := c.all(names, key); len(values) > 0 {
		return strings.Trim(values[0], `"`)
	}
	return ""
}

// matches says whether a Host line means a host: one of its names is meant,
// and none is excluded (`!pattern`).
func matches(block *ssh_config.Host, names []string) bool {
	found := false
	for _, name := range names {
		found = found || block.Matches(name)
		for _, p := range block.Patterns {
			if excluded(p, name) {
				return false
			}
		}
	}
	return found
}

func excluded(p *ssh_config.Pattern, name string) bool {
	text, negated := strings.CutPrefix(p.String(), "!")
	if !negated {
		return false
	}
	same, err := ssh_config.NewPattern(text)
	if err != nil {
		return false // the library has read the same text before
	}
	return (&ssh_config.Host{Patterns: []*ssh_config.Pattern{same}}).Matches(name)
}

// settings is what ~/.ssh/config says of one host, tokens replaced.
type settings struct {
	hostName, user, proxyJump, hostKeyAlias, identityAgent string
	port                                                   int
	identities, knownHosts                                 []string
	identitiesOnly, hashKnownHosts                         bool
}

// of reads what there is about a host that has these names; the first is what
// %n and, without a HostName, %h stand for.
func (c *userConfig) of(names []string) (settings, error) {
	s := settings{
		user:           c.first(names, "User"),
		proxyJump:      c.first(names, "ProxyJump"),
		hostKeyAlias:   c.first(names, "HostKeyAlias"),
		identitiesOnly: strings.EqualFold(c.first(names, "IdentitiesOnly"), "yes"),
		hashKnownHosts: strings.EqualFold(c.first(names, "HashKnownHosts"), "yes"),
	}
	if command := c.first(names, "ProxyCommand"); command != "" && !strings.EqualFold(command, "none") && s.proxyJump == "" {
		return settings{}, fmt.Errorf("%s gives %s a ProxyCommand (%s), which this program does not run; write ProxyJump there, or set ssh.address in the spec to where it is reached directly", c.path, names[0], command)
	}
	if text := c.first(names, "Port"); text != "" {
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 {
			return settings{}, fmt.Errorf("%s gives %s the port %q, which is none; write a number from 1 to 65535", c.path, names[0], text)
		}
		s.port = port
	}
	s.hostName = c.hostName(names)
	more := c.tokensFor(names, s)
	for _, file := range c.all(names, "IdentityFile") {
		if file = strings.Trim(file, `"`); !strings.EqualFold(file, "none") {
			s.identities = append(s.identities, expand(tokens(file, more), c.home))
		}
	}
	for _, file := range words(c.first(names, "UserKnownHostsFile")) {
		if !strings.EqualFold(file, "none") {
			s.knownHosts = append(s.knownHosts, expand(tokens(file, more), c.home))
		}
	}
	if agent := c.first(names, "IdentityAgent"); agent != "" && agent != "SSH_AUTH_SOCK" {
		s.identityAgent = os.ExpandEnv(expand(tokens(agent, more), c.home))
	}
	return s, nil
}

// hostName is where a host is reached, or "".
func (c *userConfig) hostName(names []string) string {
	return tokens(c.first(names, "HostName"), map[byte]string{'h': names[0], 'n': names[0]})
}

// tokensFor are the tokens of ssh_config(5) that stand in names of files.
func (c *userConfig) tokensFor(names []string, s settings) map[byte]string {
	return map[byte]string{
		'd': c.home, 'h': or(s.hostName, names[len(names)-1]), 'n': names[0],
		'p': strconv.Itoa(or(s.port, defaultPort)), 'r': or(s.user, defaultUser), 'u': localUser(),
	}
}

// tokens replaces %x; one that is not known stays as it is.
func tokens(text string, values map[byte]string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		value, known := values[text[i]]
		switch {
		case text[i] == '%':
			b.WriteByte('%')
		case known:
			b.WriteString(value)
		default:
			b.WriteString(text[i-1 : i+1])
		}
	}
	return b.String()
}

// localUser is who runs this program.
func localUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}
