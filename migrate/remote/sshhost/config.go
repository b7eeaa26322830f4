package sshhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"

	"hamigrate/migrate/inputfile"
	"hamigrate/migrate/remote"
)

// includeDepth is how deep Include may nest, as for ssh(1).
const includeDepth = 16

// includedKey is the keyword that stands in a file's text for what it
// includes: an index into userConfig.included.
const includedKey = "migrateincluded"

// userConfig is ~/.ssh/config. A host of the spec has two names there: its
// name and its address; people write either behind Host.
type userConfig struct {
	path string
	home string
	// file is nil where there is no such file.
	file *ssh_config.Config
	// included are the files that were included, each as often as it was.
	included []*ssh_config.Config
	// skipped are Match blocks that this program does not decide on.
	skipped []string
}

// readUserConfig reads the file. One that is not there says nothing.
func readUserConfig(home string) (*userConfig, error) {
	c := &userConfig{path: filepath.Join(home, ".ssh", "config"), home: home}
	var err error
	c.file, err = c.read(c.path, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", c.path, err)
	}
	return c, nil
}

// read parses a file. The library is given neither Include nor Match lines:
// of what is included it reads files that never passed here, and of Match it
// takes `host` for all that is asked, and its list for one pattern.
func (c *userConfig) read(file string, depth int) (*ssh_config.Config, error) {
	if depth > includeDepth {
		return nil, fmt.Errorf("%s: Include nests deeper than %d", file, includeDepth)
	}
	data, err := readSmall("SSH configuration", file)
	if err != nil {
		return nil, err
	}
	return c.parse(file, data, depth)
}

// readSmall reads a key, a certificate or a configuration, of which none is large:
// a device has no end, and a pipe may have no writer.
func readSmall(what, file string) ([]byte, error) {
	return inputfile.Kind{What: what, Max: 1 << 20, Patience: 5 * time.Second}.Read(file)
}

// parse is read for a file's content.
func (c *userConfig) parse(file string, data []byte, depth int) (*ssh_config.Config, error) {
	var out strings.Builder
	skipping := false
	for i, line := range strings.Split(string(data), "\n") {
		word, rest := keyword(line)
		switch word {
		case "host":
			skipping = false
			line = "Host " + strings.Join(words(rest), " ")
		case "match":
			patterns, known := matchHosts(rest)
			if skipping = !known; skipping {
				c.skip(fmt.Sprintf("%s line %d: Match %s", file, i+1, rest))
			}
			line = "Host " + patterns
		case "include":
			if skipping {
				continue
			}
			var err error
			if line, err = c.include(rest, depth); err != nil {
				return nil, err
			}
		case includedKey:
			continue
		}
		if !skipping {
			out.WriteString(line + "\n")
		}
	}
	parsed, err := ssh_config.DecodeBytes([]byte(out.String()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return parsed, nil
}

// matchHosts is what a Host line has for a Match line that asks for the host
// alone. Others are not known here, also those that ask for more besides.
func matchHosts(criteria string) (patterns string, known bool) {
	asks := words(criteria)
	switch {
	case len(asks) == 1 && strings.EqualFold(asks[0], "all"):
		return "*", true
	case len(asks) == 2 && strings.EqualFold(asks[0], "host"):
		patterns = strings.ReplaceAll(asks[1], ",", " ")
	}
	return patterns, strings.TrimSpace(patterns) != ""
}

func (c *userConfig) skip(what string) {
	if !slices.Contains(c.skipped, what) { // a file may be included twice
		c.skipped = append(c.skipped, what)
	}
}

// include reads what an Include line names and returns the lines that stand
// for it: what is in there holds only where the block around it does.
func (c *userConfig) include(patterns string, depth int) (string, error) {
	var out strings.Builder
	for _, pattern := range words(patterns) {
		pattern = expand(pattern, c.home)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(c.home, ".ssh", pattern)
		}
		files, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("Include %s: %w", pattern, err)
		}
		for _, file := range files {
			parsed, err := c.read(file, depth+1)
			if errors.Is(err, fs.ErrNotExist) { // a link into nothing, which ssh(1) passes over
				continue
			}
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "%s %d\n", includedKey, len(c.included))
			c.included = append(c.included, parsed)
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

// walk shows every setting for a host with these names, in the order of the
// text: for ssh(1) the first value wins.
func (c *userConfig) walk(file *ssh_config.Config, names []string, show func(key, value string)) {
	if file == nil {
		return
	}
	for _, block := range file.Hosts {
		if !matches(block, names) {
			continue
		}
		for _, node := range block.Nodes {
			kv, is := node.(*ssh_config.KV)
			switch {
			case !is || kv.Value == "":
			case kv.Key == includedKey:
				if i, err := strconv.Atoi(kv.Value); err == nil { // include has written it
					c.walk(c.included[i], names, show)
				}
			default:
				show(strings.ToLower(kv.Key), kv.Value)
			}
		}
	}
}

// all returns every value of a keyword.
func (c *userConfig) all(names []string, key string) []string {
	var out []string
	c.walk(c.file, names, func(k, value string) {
		if strings.EqualFold(k, key) {
			out = append(out, value)
		}
	})
	return out
}

// first is the value that counts for a keyword that has one.
func (c *userConfig) first(names []string, key string) string {
	if values := c.all(names, key); len(values) > 0 {
		return strings.Trim(values[0], `"`)
	}
	return ""
}

// jump is the ProxyJump that counts. It and ProxyCommand are one setting, and
// the first of them wins.
func (c *userConfig) jump(names []string) (string, error) {
	key, way := "", ""
	c.walk(c.file, names, func(k, value string) {
		if key == "" && (k == "proxyjump" || k == "proxycommand") {
			key, way = k, strings.Trim(value, `"`)
		}
	})
	if key == "proxycommand" && !strings.EqualFold(way, "none") {
		return "", fmt.Errorf("%s gives %s a ProxyCommand, which this program does not run; write ProxyJump there, or set ssh.address in the spec to where it is reached directly", c.path, names[0])
	}
	return way, nil
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

// given is what decides before ~/.ssh/config does, as far as it says
// something.
type given struct {
	user, address string
	port          int
	otherwise     string // the user where nobody names one
}

// settings is what is decided for one host, tokens replaced.
type settings struct {
	hostName, user, proxyJump, hostKeyAlias, identityAgent string
	port                                                   int
	identities, knownHosts                                 []string
	identitiesOnly, hashKnownHosts                         bool
}

// of decides on a host that has these names; the first is what %n and, without
// a HostName, %h stand for.
func (c *userConfig) of(names []string, by given) (settings, error) {
	s := settings{
		user:           or(by.user, or(c.first(names, "User"), by.otherwise)),
		port:           or(by.port, defaultPort),
		hostKeyAlias:   c.first(names, "HostKeyAlias"),
		identitiesOnly: strings.EqualFold(c.first(names, "IdentitiesOnly"), "yes"),
		hashKnownHosts: strings.EqualFold(c.first(names, "HashKnownHosts"), "yes"),
	}
	if who := or(by.user, c.first(names, "User")); who != "" && !remote.IsUser(strings.ReplaceAll(who, "@", "")) { // directories have users with a domain
		return settings{}, fmt.Errorf("%q is no user name for %s; write another one as User in %s, or as ssh.user in the spec", who, names[0], c.path)
	}
	var err error
	if s.proxyJump, err = c.jump(names); err != nil {
		return settings{}, err
	}
	if text := c.first(names, "Port"); text != "" {
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 {
			return settings{}, fmt.Errorf("%s gives %s the port %q, which is none; write a number from 1 to 65535", c.path, names[0], text)
		}
		s.port = or(by.port, port)
	}
	s.hostName = c.hostName(names)
	if by.address != "" { // which may be a name of ~/.ssh/config's
		s.hostName = c.hostName([]string{by.address})
	}
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
		'p': strconv.Itoa(s.port), 'r': s.user, 'u': localUser(),
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
