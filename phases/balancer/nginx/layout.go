package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hamigrate/migrate/hostfiles"
	"hamigrate/migrate/remote"
	"hamigrate/phases/platform"
)

// layout says where on this nginx our file belongs.
type layout struct {
	file    string
	bare    bool   // the file is included inside a stream block that is there
	include string // line to append to nginx.conf, "" where none is needed
	load    string // line to put before nginx.conf, "" where none is needed
	nofile  int
	module  bool   // the stream module is there, as a file or built in
	errors  string // the file of nginx's error log, "" where it is none
	holds   string // where nginx's configuration listens on our port without us
	listens []int  // ports that its configuration listens on without us, ours too where holds says so
}

// ownFolder is where our file goes when nginx.conf has no folder for it, by a
// line of our own.
const (
	ownFolder  = "/etc/nginx/migrate.d"
	ownFile    = ownFolder + "/kube-apiserver.conf"
	ownInclude = "include " + ownFolder + "/*.conf"
	ownName    = "95-migrate-kube-apiserver"
	// ownLoad ends the line of ours that loads the stream module.
	ownLoad = "; # by migrate"

	streamModule = "ngx_stream_module.so"
)

// streamBlockError is a stream block of somebody else's in which no include
// line takes a file of ours.
type streamBlockError struct{ at string }

func (e streamBlockError) Error() string {
	return fmt.Sprintf("nginx has a stream block at %s, which no include line leads into, and it allows one such block only", e.at)
}

// remedy is what to do about it.
func (e streamBlockError) remedy() string {
	file, _, _ := strings.Cut(e.at, ":")
	return fmt.Sprintf("add the line `include /etc/nginx/stream.d/*.conf;` to the stream block in %s; or keep nginx as your own, pass the endpoint through there, and write `kind: external` into spec.loadBalancer", file)
}

// dumpScript asks nginx for its configuration as it reads it: all files, however
// they are included. On a configuration that it refuses it prints no file.
const dumpScript = `command -v nginx >/dev/null && [ -e ` + nginxConf + ` ] || { echo absent; exit 0; }
nginx -V 2>&1
d=$(nginx -V 2>&1 | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
[ ! -e "${d:-/usr/lib/nginx/modules}/` + streamModule + `" ] || echo @@module
echo @@dump
nginx -T`

// dumped reads the configuration of a host's nginx: fs.ErrNotExist where there
// is none yet.
func dumped(ctx context.Context, r remote.Reader) (program string, top []directive, err error) {
	out, err := r.Look(ctx, remote.Command{Script: dumpScript, Waits: true})
	var exit *remote.ExitError
	switch {
	case errors.As(err, &exit):
		return "", nil, refusedError{fmt.Sprintf("nginx on %s refuses its configuration as it is now", r.Name()), complaint(exit.Stderr)}
	case err != nil:
		return "", nil, fmt.Errorf("asking nginx on %s for its configuration: %w", r.Name(), err)
	case strings.TrimSpace(out) == "absent":
		return "", nil, fmt.Errorf("the configuration of nginx on %s: %w", r.Name(), fs.ErrNotExist)
	}
	program, dump, _ := strings.Cut(out, "@@dump\n")
	return program, parseDump(dump), nil
}

// refusedError is what nginx says of a configuration that it does not take.
type refusedError struct{ what, says string }

func (e refusedError) Error() string { return e.what + ": " + e.says }

// QuotesOthers: see remote.Quoting.
func (refusedError) QuotesOthers() {}

// complaint is the first line of what nginx prints that says what is wrong.
func complaint(stderr string) string {
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, "[emerg]") || strings.Contains(line, "[alert]") {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "nginx: "))
		}
	}
	return strings.TrimSpace(stderr)
}

// findLayout asks nginx. Port is the endpoint's.
func findLayout(ctx context.Context, r remote.Reader, port int) (layout, error) {
	program, top, err := dumped(ctx, r)
	if err != nil {
		return layout{}, err
	}
	return layoutOf(program, top, port)
}

// layoutOf finds it in what nginx says of itself and of its configuration. A
// second stream block would be refused by nginx, so one that is there is used
// through its include line, and a module that is on the disk serves only when
// it is loaded.
func layoutOf(program string, top []directive, port int) (layout, error) {
	l := layout{nofile: 65536, file: StreamFile, errors: "/var/log/nginx/error.log"}
	var stream *directive
	var masks []string
	loaded := false
	each(top, func(d directive) {
		if ours(d) {
			return
		}
		switch d.name() {
		case "worker_rlimit_nofile":
			l.nofile = 0
		case "error_log":
			l.errors = d.arg(1)
		case "stream":
			stream = &d
		case "include":
			masks = append(masks, includeMask(d))
		case "load_module":
			loaded = loaded || path.Base(d.arg(1)) == streamModule
		}
	})
	l.findListens(top, port)
	l.findModule(program, loaded, masks)
	if !path.IsAbs(l.errors) {
		l.errors = ""
	}
	if stream != nil {
		file, ok := fileIn(*stream)
		if !ok {
			return layout{}, streamBlockError{stream.at()}
		}
		l.file, l.bare = file, true
		return l, nil
	}
	if !slices.ContainsFunc(masks, func(m string) bool { return matches(m, StreamFile) }) {
		l.file = ownFile
		if !slices.ContainsFunc(masks, func(m string) bool { return matches(m, ownFile) }) {
			l.include = ownInclude + ";"
		}
	}
	return l, nil
}

// ours says whether a directive stands in the file that we write. In somebody
// else's folder our name may have another beginning or end: see fileIn.
func ours(d directive) bool {
	return d.file == StreamFile || d.file == ownFile || strings.Contains(path.Base(d.file), ownName)
}

// fileIn is the file of ours that an include line in a stream block takes,
// whatever its mask looks like. A mask for folders is of no use: nothing says
// which of them.
func fileIn(stream directive) (file string, ok bool) {
	each(stream.block, func(d directive) {
		mask := includeMask(d)
		if ok || d.name() != "include" || ours(d) || strings.ContainsAny(path.Dir(mask), "*?[") {
			return
		}
		last := path.Base(mask)
		for _, name := range []string{ownName + ".conf", strings.Replace(last, "*", ownName, 1)} {
			if file = path.Join(path.Dir(mask), name); strings.Contains(last, "*") && matches(mask, file) {
				ok = true
				return
			}
		}
	})
	return file, ok
}

// findListens notes where nginx's configuration listens without us.
func (l *layout) findListens(top []directive, port int) {
	deep(top, func(d directive) {
		if d.name() != "listen" || ours(d) || strings.HasPrefix(d.arg(1), "unix:") {
			return
		}
		n, err := strconv.Atoi(d.arg(1)[strings.LastIndex(d.arg(1), ":")+1:])
		if err != nil {
			n = 80 // an address alone
		}
		if n == port {
			l.holds = d.at()
		}
		if !slices.Contains(l.listens, n) {
			l.listens = append(l.listens, n)
		}
	})
}

// packagesMasks are the lines of nginx.conf by which the packages' own
// configuration loads a module.
func packagesMasks() []string {
	var out []string
	for _, f := range platform.Families() {
		out = append(out, f.NginxModules)
	}
	return out
}

// findModule says whether the module has to be loaded by a line of ours. Where
// it is still to be installed, its package brings that line, if nginx.conf has
// the place for it.
func (l *layout) findModule(program string, loaded bool, masks []string) {
	words := strings.Fields(program)
	if slices.Contains(words, "--with-stream") {
		l.module = true
		return
	}
	l.module = slices.Contains(words, "@@module")
	if loaded || !l.module && slices.ContainsFunc(masks, func(m string) bool { return slices.Contains(packagesMasks(), m) }) {
		return
	}
	folder := "/usr/lib/nginx/modules"
	for _, w := range words {
		if d, ok := strings.CutPrefix(w, "--modules-path="); ok {
			folder = d
		}
	}
	l.load = "load_module " + path.Join(folder, streamModule) + ownLoad
}

// edited is nginx.conf with the lines that it lacks. A module is loaded before
// anything else (ngx_load_module: "is specified too late").
func (l layout) edited(conf []byte) []byte {
	if l.load != "" {
		conf = append([]byte(l.load+"\n"), conf...)
	}
	if l.include != "" {
		conf = withLine(conf, l.include)
	}
	return conf
}

// withLine is a text with one line more at its end.
func withLine(text []byte, line string) []byte {
	return []byte(strings.TrimRight(string(text), "\n") + "\n" + line + "\n")
}

var ownLoadLine = regexp.MustCompile(`^load_module \S+` + regexp.QuoteMeta(ownLoad) + `\n`)

// withoutLines is nginx.conf without our lines: the copy of before, byte for
// byte, where they are all that differs from it.
func withoutLines(ctx context.Context, r remote.Reader, conf remote.File) (remote.File, error) {
	line := []byte("\n" + ownInclude + ";\n")
	load := ownLoadLine.Find(conf.Data)
	if !bytes.Contains(conf.Data, line) && load == nil {
		return conf, nil
	}
	former := conf
	former.Data = bytes.Replace(conf.Data[len(load):], line, []byte("\n"), 1)
	kept, err := r.ReadFile(ctx, path.Join(hostfiles.BackupDir(nginxStreamID), nginxConf))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return remote.File{}, err
	}
	if err == nil {
		l := layout{load: strings.TrimSuffix(string(load), "\n")}
		if bytes.Contains(conf.Data, line) {
			l.include = ownInclude + ";"
		}
		if bytes.Equal(l.edited(kept.Data), conf.Data) {
			former.Data = kept.Data
		}
	}
	return former, nil
}
