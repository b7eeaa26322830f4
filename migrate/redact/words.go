package redact

import (
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"unicode/utf8"
)

// longBase64 is from what length on a word of base64 is taken for a secret: a key
// of 256 bits has 44 characters.
const longBase64 = 40

// deepest is how often a word is decoded that holds another such word.
const deepest = 3

// These say what secrets look like. The names are those that kubeadm, kubectl,
// Ansible, cloud providers and their programs use; a name counts when it ends so.
var (
	pemWhole = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----`)
	dataHead = regexp.MustCompile(`^[ +\-\t]*["']?(data|stringData|binaryData)["']?:\s*(?:\{\s*|[&!#].*)?$`)
	entry    = regexp.MustCompile(`^([ +\-\t]*(?:["']?[\w.-]+["']?:\s*)?)(\S+?)(,?\s*)$`)
	mapHead  = regexp.MustCompile(`\b(?:data|stringData|binaryData)\\*["']?\s*:\s*\{`)

	// opens is the name of a secret in YAML, whose value may go on in the lines below.
	opens = regexp.MustCompile(`(?i)^["']?(?:value|pass|bindpw|[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|credentials?|[_-]pass))["']?:(?:\s|$)`)

	// A value of an environment variable, in YAML and in JSON: of its name nobody
	// knows what it holds.
	envLine = regexp.MustCompile(`^([ +\-\t]*(?:- )?value:\s*)\S.*$`)
	envName = regexp.MustCompile(`\b[vV]alue(?:\\*["']\s*:\s*|:\s+)`)

	// userinfo is what stands before the @ of a URL; the last @ of the word ends it.
	// loginAt is the same without a scheme.
	userinfo = regexp.MustCompile(`(://)([^\s/:@"']*):([^\s"']+)@`)
	loginAt  = regexp.MustCompile(`(^|[\s"'=(,])([\w.+-]+):([^\s"'/@:][^\s"']*)@([\w.-]+)`)
	header   = regexp.MustCompile(`(?i)(?:authorization|cookie)\\*["']?\s*[:=]\s*`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+([A-Za-z0-9+/=._~-]{6,})`)
	jwt      = regexp.MustCompile(`\beyJ[\w-]{6,}\.[\w.-]+`)
	known    = regexp.MustCompile(`\b(?:glpat-|xox[a-z]-|[sr]k_(?:live|test)_|hv[sbr]\.|AIza|AGE-SECRET-KEY-|gh[pousr]_|github_pat_)[\w.-]{4,}`)

	// toTheEnd are names whose value may have spaces in it, oneWord those of tokens.
	toTheEnd = regexp.MustCompile(`(?i)(?:^|[^A-Za-z])(?:[\w.-]*(?:passw(?:or)?d|passphrase|[_-]pass|[_-]pwd|credentials?|secret)[\w-]*|[\w.-]*(?:sshpass|bindpw)|pass|(?-i:[\w.-]*[a-z]Pass))\\*["']?\s*(?::=|=>|[:=])\s*`)
	asked    = regexp.MustCompile(`(?i)\b(?:password|passphrase)\b[^:=]{1,60}[:=]\s+`)
	oneWord  = regexp.MustCompile(`(?i)(?:(?:^|[^A-Za-z])[\w.-]*(?:tokens?|(?:api|access|private|certificate|secret|shared|encryption|signing|client-key)[_-]?(?:key|data)|client-key-data|secret[_-]?id|etcdctl_user|_auth)|["']auth|^[ +\-\t]*auth)\\*["']?\s*(?::=|=>|[:=])\s*`)
	param    = regexp.MustCompile(`(?i)[?&;](?:[\w.-]*(?:sig|signature|pwd|pass|passwd|password|secret|token|key|auth))=`)

	// An argument may stand behind its flag, or behind a comma in a list.
	flags = `-?-[\w-]*(?:token|certificate-key|(?:passw(?:or)?d|passphrase|secret)[\w-]*|api-key|private-key|access-key|client-key-data)`
	// asFlag finds a flag, asLogin the password behind a user's name, asTold a name
	// with only a space behind it.
	asFlag  = regexp.MustCompile(`(?i)` + flags + `(?:\\*["']?\s*,\s*|\\*["']?[\s=]+)`)
	asLogin = regexp.MustCompile(`(?:\s|^|["'])(?:--user|--proxy-user|-u|-U)(?:\\*["']?\s*,\s*|[\s=]+)\\*["']?[^\s:"'/]+:`)
	asTold  = regexp.MustCompile(`\bsshpass\s+(?:-[evV]\s+)*-p\s*|\b(?:auth_pass|requirepass|masterauth)\s+|\blogin\s+\S+\s+password\s+`)
	// flagOnly is a flag alone in its line of a list: its argument is in the next.
	flagOnly = regexp.MustCompile(`(?i)^[ +\-\t]*["']?` + flags + `["']?,?\s*$`)

	token   = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)
	longHex = regexp.MustCompile(`(?i)(sha256:)?\b[0-9a-f]{64,}\b`)
	someHex = regexp.MustCompile(`(?i)\b(?:[0-9a-f]{2}){16,}\b`)
	some64  = regexp.MustCompile(`(SHA256:)?[A-Za-z0-9+/_-]{16,}={0,2}`)
)

// words hides the secrets of one line that has no key in PEM. It was decoded as
// often as depth says.
func words(line string, depth int) string {
	line = userinfo.ReplaceAllString(line, "$1$2:"+hidden+"@")
	line = loginAt.ReplaceAllStringFunc(line, login)
	line = hideAfter(line, header, toEnd)
	line = bearer.ReplaceAllString(line, "$1 "+hidden)
	line = jwt.ReplaceAllStringFunc(line, digested)
	line = known.ReplaceAllStringFunc(line, digestedOrHidden)
	line = envLine.ReplaceAllString(line, "${1}"+hidden)
	line = hideAfter(line, envName, toMark)
	line = hideMaps(line)
	line = hideAfter(line, param, toParam)
	line = hideAfter(line, asFlag, toSpace)
	line = hideAfter(line, asLogin, toSpace)
	line = hideAfter(line, asTold, toSpace)
	line = hideAfter(line, toTheEnd, toEnd)
	line = hideAfter(line, asked, toEnd)
	line = hideAfter(line, oneWord, toMark)
	line = token.ReplaceAllStringFunc(line, digested)
	line = longHex.ReplaceAllStringFunc(line, func(s string) string {
		if strings.HasPrefix(strings.ToLower(s), "sha256:") {
			return s // a digest that says that it is one
		}
		return digested(strings.ToLower(s))
	})
	line = someHex.ReplaceAllStringFunc(line, func(s string) string { return ifHolds(s, depth, hex.DecodeString) })
	return some64.ReplaceAllStringFunc(line, func(s string) string { return base64Word(s, depth) })
}

// login hides the password of user:password@host. The digest of an image has an @
// before it as well.
func login(s string) string {
	m := loginAt.FindStringSubmatch(s)
	if m[4] == "sha256" || m[4] == "sha512" || strings.HasPrefix(m[3], "[hidden") {
		return s
	}
	return m[1] + m[2] + ":" + hidden + "@" + m[4]
}

// base64Word hides a long word of base64, and a shorter one that holds a secret. A
// path is none: it has no capitals or no digits, or is not that long between two
// dots or dashes. The fingerprint of a host key is public.
func base64Word(s string, depth int) string {
	if strings.HasPrefix(s, "SHA256:") {
		return s
	}
	if bare := strings.TrimRight(s, "="); len(bare) >= longBase64 && mixed(bare) && !strings.Contains(bare, "-") {
		return digested(s)
	}
	for _, code := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if out := ifHolds(s, depth, code.DecodeString); out != s {
			return out
		}
	}
	return s
}

// ifHolds hides a word that is a secret once it is decoded.
func ifHolds(s string, depth int, decode func(string) ([]byte, error)) string {
	if depth >= deepest {
		return s
	}
	data, err := decode(s)
	if err != nil || !utf8.Valid(data) {
		return s
	}
	if text := string(data); textAt(text, depth+1) != Plain(text) {
		return digestedOrHidden(s)
	}
	return s
}

var pureBase64 = regexp.MustCompile(`^[A-Za-z0-9+/_-]+={0,2}$`)

func isBase64(s string) bool { return pureBase64.MatchString(s) }

// mixed says whether capitals, small letters and digits are among the characters,
// as they are in anything random.
func mixed(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r >= 'A' && r <= 'Z' }) &&
		strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' }) &&
		strings.ContainsFunc(s, func(r rune) bool { return r >= '0' && r <= '9' })
}
