package inventory

import "strings"

// sshArgs finds the jump in arguments for ssh(1), and returns the rest that
// says where or as whom to connect, or is not known here. The old way to jump,
// `ProxyCommand ssh -W %h:%p bastion`, is the same as ProxyJump.
func sshArgs(args string) (jump string, rest []string) {
	words, err := fields(args)
	if err != nil {
		return "", []string{args}
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
		if option == "-J" && value != "" {
			jump = value
			continue
		}
		key, setting, _ := strings.Cut(strings.Replace(value, " ", "=", 1), "=")
		setting = strings.TrimSpace(setting)
		switch name := strings.ToLower(strings.TrimSpace(key)); {
		case option == "-o" && name == "proxyjump":
			jump = setting
		case option == "-o" && name == "proxycommand" && jumpOf(setting) != "":
			jump = jumpOf(setting)
		case option == "-o" && harmless(name):
		case word == "-C" || word == "-q" || word == "-4" || word == "-6" || word == "-A":
		case value != "" && option != word+value:
			rest = append(rest, option+" "+value)
		default:
			rest = append(rest, word)
		}
	}
	return jump, rest
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
