package remote

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Standing is what stands at a path of a host; a symbolic link is itself.
type Standing struct {
	Kind  PathKind
	Link  string      // a link's text
	Mode  fs.FileMode // of a file or folder
	Owner string      // user:group, names where the host knows them
	Size  int64       // a file's
	Sum   string      // a file's SHA-256
	Key   bool        // the file holds a private key in PEM
}

// PathKind is one of the kinds below.
type PathKind string

// The kinds of what stands at a path. Other is a socket, a device or a pipe.
const (
	AbsentPath PathKind = "absent"
	FilePath   PathKind = "file"
	FolderPath PathKind = "folder"
	LinkPath   PathKind = "link"
	OtherPath  PathKind = "other"
)

// standingScript reads paths from its standard input, one a line, and prints a
// line for each. Of a private key it says only that there is one.
const standingScript = `while IFS= read -r p; do
if [ -L "$p" ]; then printf 'link %s\n' "$(readlink "$p")"
elif [ -d "$p" ]; then echo "folder $(stat -c '%a %U %u %G %g' "$p")"
elif [ -f "$p" ]; then
key=; grep -q 'PRIVATE KEY-----' "$p" && key=key
sum=$(sha256sum <"$p")
echo "file $(stat -c '%a %U %u %G %g %s' "$p") ${sum%% *} $key"
elif [ -e "$p" ]; then echo other
else echo absent; fi
done`

// LookAt says what stands at each of the paths of a host, by one command.
func LookAt(ctx context.Context, r Reader, paths []string) (map[string]Standing, error) {
	out := map[string]Standing{}
	if len(paths) == 0 {
		return out, nil
	}
	for _, p := range paths {
		if strings.Contains(p, "\n") {
			return nil, fmt.Errorf("looking at %q on %s: there is a line break in its name", p, r.Name())
		}
	}
	text, err := r.Look(ctx, Command{Script: standingScript, Stdin: []byte(strings.Join(paths, "\n") + "\n")})
	if err != nil {
		return nil, fmt.Errorf("looking at %d files on %s: %w", len(paths), r.Name(), err)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != len(paths) {
		return nil, fmt.Errorf("looking at %d files on %s: it says %d lines", len(paths), r.Name(), len(lines))
	}
	for i, line := range lines {
		s, err := parseStanding(line)
		if err != nil {
			return nil, fmt.Errorf("looking at %s on %s: %w", paths[i], r.Name(), err)
		}
		out[paths[i]] = s
	}
	return out, nil
}

func parseStanding(line string) (Standing, error) {
	kind, rest, _ := strings.Cut(line, " ")
	s := Standing{Kind: PathKind(kind)}
	words := strings.Fields(rest)
	switch {
	case s.Kind == LinkPath:
		s.Link = rest
		return s, nil
	case s.Kind == AbsentPath || s.Kind == OtherPath:
		return s, nil
	case s.Kind == FolderPath && len(words) == 5, s.Kind == FilePath && len(words) >= 7:
	default:
		return Standing{}, fmt.Errorf("not understood: %q", line)
	}
	mode, err := strconv.ParseUint(words[0], 8, 32)
	if err != nil {
		return Standing{}, fmt.Errorf("not understood: %q", line)
	}
	s.Mode = fs.FileMode(mode) & fs.ModePerm
	s.Owner = nameOr(words[1], words[2]) + ":" + nameOr(words[3], words[4])
	if s.Kind == FilePath {
		if s.Size, err = strconv.ParseInt(words[5], 10, 64); err != nil || s.Size < 0 {
			return Standing{}, fmt.Errorf("not understood: %q", line)
		}
		s.Sum, s.Key = words[6], len(words) > 7
	}
	return s, nil
}

// nameOr is the number where stat knows no name for it.
func nameOr(name, number string) string {
	if name == "UNKNOWN" {
		return number
	}
	return name
}
