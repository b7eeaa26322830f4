package inventory

import (
	"slices"
	"strings"
)

// sshArgs finds the jump in arguments for ssh(1), and names the other options
// that say where or as whom to connect, or are not known here. Their values
// are left out, for people keep passwords in them. The old way to jump,
// `ProxyCommand ssh -W %h:%p bastion`, is the same as ProxyJump.
func sshArgs(args string) (jump string, rest []string) {
	words, err := fields(args)
	if err != nil {
		return "", []string{"what cannot be read (" + err.Error() + ")"}
	}
	name := func(option string) {
		if !slices.Contains(rest, option) {
			rest = append(rest, option)
		}
	}
	for i := 0; i < len(words); i++ {
		word := words[i]
		option, value := word, ""
		switch {
		case (word == "-J" || word == "-o") && i+1 < len(words):
			i++
			value = words[i]
		case strings.HasPrefix(word, "-J"), strings.HasPrefix(word, "-o"):
			option, value = word[:2], word[2:]
		}
		if option == "-J" && isJump(value) {
			jump = value
			continue
		}
		key, setting := value, ""
		if at := strings.IndexAny(value, "= "); at >= 0 {
			key, setting = value[:at], strings.TrimSpace(value[at+1:])
		}
		switch known := strings.ToLower(strings.TrimSpace(key)); {
		case option == "-o" && known == "proxyjump" && isJump(setting):
			jump = setting
		case option == "-o" && known == "proxycommand" && isJump(jumpOf(setting)):
			jump = jumpOf(setting)
		case option == "-o" && harmless(known):
		case word == "-C" || word == "-q" || word == "-4" || word == "-6" || word == "-A":
		case option == "-o" && isWord(key):
			name(strings.TrimSpace(key))
		case len(word) >= 2 && word[0] == '-':
			name(word[:2]) // -F file and -Ffile alike
		}
	}
	return jump, rest
}

// isWord says whether this can be the name of an option, and so no value.
func isWord(key string) bool {
	return key != "" && strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz ") == ""
}

// isJump says whether this is [user@]host[:port], or several. With a
// password in it, it is not.
func isJump(value string) bool {
	for _, hop := range strings.Split(value, ",") {
		user, _, found := strings.Cut(strings.TrimPrefix(hop, "ssh://"), "@")
		if hop == "" || strings.HasPrefix(hop, "-") || strings.ContainsAny(hop, " \t\"'`$;|&<>") || found && strings.Contains(user, ":") {
			return false
		}
	}
	return true
}

// harmless are settings of speed and of multiplexing, which this program does
// itself or has no use for. Host key checking is not among them: it is never
// switched off here, and that is said.
func harmless(name string) bool {
	switch name {
	case "controlmaster", "controlpersist", "controlpath", "compression", "connecttimeout", "connectionattempts",
		"serveraliveinterval", "serveralivecountmax", "forwardagent", "gssapiauthentication", "preferredauthentications",
		"loglevel", "tcpkeepalive", "batchmode":
		return true
	}
	return false
}

// jumpOf is the bastion of `ssh -W %h:%p [-q] [-p PORT] [-l USER] [USER@]HOST`,
// or "" for any other command.
func jumpOf(command string) string {
	words, err := fields(command)
	if err != nil || len(words) == 0 || words[0] != "ssh" && !strings.HasSuffix(words[0], "/ssh") {
		return ""
	}
	var host, user, port string
	forwards := false
	for i := 1; i < len(words); i++ {
		next := ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		switch words[i] {
		case "-W":
			forwards = next == "%h:%p" || next == "[%h]:%p"
			i++
		case "-p":
			port = next
			i++
		case "-l":
			user = next
			i++
		case "-q", "-A", "-C", "-T":
		default:
			if strings.HasPrefix(words[i], "-") || host != "" {
				return ""
			}
			host = words[i]
		}
	}
	if !forwards || host == "" {
		return ""
	}
	if user != "" && !strings.Contains(host, "@") {
		host = user + "@" + host
	}
	if port != "" {
		host += ":" + port
	}
	return host
}
