package kube

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// secretName are the names of flags whose value is a secret and no file that
// holds one. `--enable-bootstrap-token-auth` and `--service-account-key-file`
// are none.
var secretName = regexp.MustCompile(`(?i)((^|[-_.])(pass|pwd|secret[-_]?id)|password|passwd|passphrase|secret|token|credentials?|(api|access|private|secret|shared|encryption|signing)[-_]?key)$`)

// secretValue is what a secret looks like under any name: user and password
// before an @, with a scheme or without one, what stands in an Authorization
// header, a private key, a JSON web token.
var secretValue = regexp.MustCompile(`:\S*@|(?i:\b(bearer|basic)\s+\S)|-----BEGIN|\beyJ[\w-]{10,}\.`)

// imageDigest has an @ and is no user's.
var imageDigest = regexp.MustCompile(`@sha256:[0-9a-f]{64}`)

// Secret says whether the value of a flag is not to be shown: its name says so,
// or it looks like a secret. Of a variable nothing is known by its name: see
// HarmlessVariable.
func Secret(name, value string) bool {
	if secretName.MatchString(name) && value != "" && value != "true" && value != "false" {
		return true
	}
	value = imageDigest.ReplaceAllString(value, "")
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ' ' }) {
		if u, err := url.Parse(word); err == nil && u.User != nil {
			return true
		}
	}
	return secretValue.MatchString(value)
}

// ShownValue is a flag's value for people and files: hidden where it is a
// secret.
func ShownValue(name, value string) string {
	if Secret(name, value) {
		return hidden
	}
	return value
}

// harmlessVariables are those that a control plane's programs or their runtime
// read, and whose value is no secret in any of its forms. Every other variable
// may hold one: its name is told, and its value neither shown nor written where
// others may read it.
var harmlessVariables = []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK", "TZ", "LANG", "LC_ALL",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
	"KUBE_CACHE_MUTATION_DETECTOR", "KUBE_WATCHLIST_INCONSISTENCY_DETECTOR",
	"GRPC_ENFORCE_ALPN_ENABLED", "GRPC_GO_LOG_SEVERITY_LEVEL", "GRPC_GO_LOG_VERBOSITY_LEVEL"}

// proxyValue is a proxy's address or a list of hosts, which kubeadm copies from
// any variable whose name ends so (kubeadm: util/env.go, GetProxyEnvVars). No
// user is in it, and no query.
var proxyValue = regexp.MustCompile(`^[\w.:/*,\[\]\s-]*$`)

// HarmlessVariable says whether a variable's value may be shown, and written
// where others may read it. The node's own address or name is no secret.
func (o Own) HarmlessVariable(name, value string) bool {
	switch upper := strings.ToUpper(name); {
	case value == "" || o.has(value) || value == o.Name:
		return true
	case Secret(name, value):
		return false
	case strings.HasSuffix(upper, "_PROXY"):
		return proxyValue.MatchString(value)
	case strings.HasPrefix(upper, "KUBE_FEATURE_"): // client-go: features/envvar.go
		return value == "true" || value == "false"
	}
	return slices.Contains(harmlessVariables, name)
}
