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

// These say what secrets look like. The names are those that kubeadm, kubectl,
// Ansible, cloud providers and their programs use; a name counts when it ends so.
var (
	pemWhole = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----`)
	dataHead = regexp.MustCompile(`^[ +\-\t]*(data|stringData|binaryData):\s*$`)
	entry    = regexp.MustCompile(`^([ +\-\t]*[\w.-]+:\s*)(\S+)\s*$`)

	// opens is the name of a secret in YAML, whose value may go on in the lines below.
	opens = regexp.MustCompile(`(?i)^["']?(?:value|[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|credentials?))["']?:(?:\s|$)`)

	// A value of an environment variable, in YAML and in JSON: of its name nobody
	// knows what it holds.
	envLine = regexp.MustCompile(`^([ +\-\t]*(?:- )?value:\s*)\S.*$`)
	envJSON = regexp.MustCompile(`(\\?"(?:value|Value)\\?"\s*:\s*)(\\?")(?:[^"\\]|\\[^"]|\\\\\\")*(\\?")`)
	envFlow = regexp.MustCompile(`(\bvalue:\s*)("[^"]*"|'[^']*'|[^\s,}\[]+)`)
	mapJSON = regexp.MustCompile(`("(?:data|stringData|binaryData)"\s*:\s*)\{[^{}]*\}`)

	// userinfo is what stands before the @ of a URL; the last @ of the word ends it.
	userinfo = regexp.MustCompile(`(://)([^\s/:@"']*):([^\s"']+)@`)
	header   = regexp.MustCompile(`(?i)(authorization["']?\s*[:=]\s*["']?)[^"'\r\n]+`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+([A-Za-z0-9+/=._~-]{6,})`)
	jwt      = regexp.MustCompile(`\beyJ[\w-]{6,}\.[\w.-]+`)

	// toTheEnd are names whose value may have spaces in it, oneWord those of tokens.
	toTheEnd = regexp.MustCompile(`(?i)((?:^|[^A-Za-z])[\w.-]*(?:passw(?:or)?d|passphrase|[_-]pass|passwd|[_-]pwd|credentials?|secret|vault_pass)[\w-]*["']?\s*[:=]\s*)(\S.*)$`)
	asked    = regexp.MustCompile(`(?i)(\b(?:password|passphrase)\b[^:=]{1,60}[:=]\s+)(\S.*)$`)
	oneWord  = regexp.MustCompile(`(?i)((?:^|[^A-Za-z])[\w.-]*(?:token|(?:api|access|private|certificate|secret|shared|encryption|signing|client-key)[_-]?(?:key|data)|client-key-data|secret[_-]?id)["']?\s*[:=]\s*["']?)([^\s"',}]+)`)
	asFlag   = regexp.MustCompile(`(?i)(-?-[\w-]*(?:token|certificate-key|passw(?:or)?d|passphrase|secret|api-key|client-key-data)[\s=]+)("[^"]*"|'[^']*'|\S+)`)

	token   = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)
	longHex = regexp.MustCompile(`(?i)(sha256:)?\b[0-9a-f]{64,}\b`)
	someHex = regexp.MustCompile(`(?i)\b(?:[0-9a-f]{2}){16,}\b`)
	some64  = regexp.MustCompile(`(SHA256:)?[A-Za-z0-9+/_-]{16,}={0,2}`)
)

// words hides the secrets of one line that has no key in PEM.
func words(line string) string {
	line = userinfo.ReplaceAllString(line, "$1$2:"+hidden+"@")
	line = header.ReplaceAllString(line, "${1}"+hidden)
	line = bearer.ReplaceAllString(line, "$1 "+hidden)
	line = jwt.ReplaceAllStringFunc(line, digested)
	line = envLine.ReplaceAllString(line, "${1}"+hidden)
	line = envJSON.ReplaceAllString(line, "$1$2"+hidden+"$3")
	line = envFlow.ReplaceAllString(line, "${1}"+hidden)
	line = mapJSON.ReplaceAllString(line, "$1{}")
	line = asFlag.ReplaceAllString(line, "${1}"+hidden)
	line = toTheEnd.ReplaceAllStringFunc(line, func(s string) string { return valueOf(toTheEnd, s, ending) })
	line = asked.ReplaceAllStringFunc(line, func(s string) string { return valueOf(asked, s, ending) })
	line = oneWord.ReplaceAllStringFunc(line, func(s string) string { return valueOf(oneWord, s, nil) })
	line = token.ReplaceAllStringFunc(line, digested)
	line = longHex.ReplaceAllStringFunc(line, func(s string) string {
		if strings.HasPrefix(strings.ToLower(s), "sha256:") {
			return s // a digest that says that it is one
		}
		return digested(strings.ToLower(s))
	})
	line = someHex.ReplaceAllStringFunc(line, func(s string) string { return ifHolds(s, hex.DecodeString) })
	return some64.ReplaceAllStringFunc(line, base64Word)
}

// valueOf hides the value behind a name. What is hidden already, and what is no
// value at all, stays.
func valueOf(name *regexp.Regexp, s string, rest func(string) string) string {
	m := name.FindStringSubmatch(s)
	switch {
	case m == nil, strings.HasPrefix(m[2], "[hidden"), m[2] == "true", m[2] == "false", m[2] == "null", m[2] == `""`:
		return s
	case rest != nil:
		return m[1] + hidden + rest(m[2])
	}
	return m[1] + digestedOrHidden(m[2])
}

// ending is what stands behind a quoted value, in JSON and in flow style, so that
// the rest of an object is still read.
func ending(value string) string {
	quote := value[0]
	if quote != '"' && quote != '\'' {
		return ""
	}
	if at := strings.IndexByte(value[1:], quote); at >= 0 && value[at] != '\\' {
		return words(value[at+2:])
	}
	return ""
}

// base64Word hides a long word of base64, and a shorter one that holds a secret. A
// path is none: it has no capitals or no digits, or is not that long between two
// dots or dashes. The fingerprint of a host key is public.
func base64Word(s string) string {
	if strings.HasPrefix(s, "SHA256:") {
		return s
	}
	if bare := strings.TrimRight(s, "="); len(bare) >= longBase64 && mixed(bare) && !strings.Contains(bare, "-") {
		return digested(s)
	}
	for _, code := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if out := ifHolds(s, code.DecodeString); out != s {
			return out
		}
	}
	return s
}

// ifHolds hides a word that is a secret once it is decoded.
func ifHolds(s string, decode func(string) ([]byte, error)) string {
	data, err := decode(s)
	if err != nil || !utf8.Valid(data) {
		return s
	}
	if text := string(data); Text(text) != Plain(text) {
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
