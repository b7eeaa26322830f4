package cluster

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"hamigrate/migrate/remote"
)

// ParseHost reads [USER@]HOST[:PORT].
func ParseHost(word string) (Host, error) {
	bad := fmt.Errorf("%q is not [USER@]HOST[:PORT], such as root@cp1", word)
	user, place := "", word
	if at := strings.LastIndex(word, "@"); at >= 0 {
		if user, place = word[:at], word[at+1:]; user == "" {
			return Host{}, bad
		}
	}
	port := 0
	if h, p, err := net.SplitHostPort(place); err == nil {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return Host{}, bad
		}
		place = h
	}
	place = strings.Trim(place, "[]")
	if place == "" || strings.HasPrefix(place, "-") || user != "" && !remote.IsUser(user) || strings.ContainsAny(place, " \t/\"'`$;&<>|()") {
		return Host{}, bad
	}
	return Host{Name: place, Address: place, SSH: SSH{Address: place, User: user, Port: port}}, nil
}
