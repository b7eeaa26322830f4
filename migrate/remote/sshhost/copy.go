package sshhost

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"hamigrate/migrate/remote"
)

// WriteFile puts f in place atomically, see remote.Host. Where f.Path is a
// symbolic link, the file it points to is replaced and the link stays: the
// kubelet's client certificate is such a link. Access control lists and
// extended attributes of the target are not kept.
//
// Two writers of the same path at once: one of them gets an error.
func (h *Host) WriteFile(ctx context.Context, f remote.File) error {
	err := again(ctx, func() error { return h.put(ctx, f, bytes.NewReader(f.Data), int64(len(f.Data))) })
	if err != nil {
		return fmt.Errorf("writing %s on %s: %w", f.Path, h.target.name, err)
	}
	return nil
}

// Copy streams path on from to the file to (its Data is ignored) with the
// guarantees of WriteFile and, where from is a remote.Streamer, in constant
// memory. Where one of the two connections is lost it begins again.
func (h *Host) Copy(ctx context.Context, from remote.Reader, path string, to remote.File) error {
	ctx = remote.Changing(ctx)
	if err := again(ctx, func() error { return h.copyFrom(ctx, from, path, to) }); err != nil {
		return fmt.Errorf("copying %s of %s to %s on %s: %w", path, from.Name(), to.Path, h.target.name, err)
	}
	return nil
}

func (h *Host) copyFrom(ctx context.Context, from remote.Reader, path string, to remote.File) error {
	streamer, ok := from.(remote.Streamer)
	if !ok {
		f, err := from.ReadFile(ctx, path)
		if err != nil {
			return err
		}
		return h.put(ctx, to, bytes.NewReader(f.Data), int64(len(f.Data)))
	}
	content, size, err := streamer.Open(ctx, path)
	if err != nil {
		return err
	}
	defer content.Close()
	return h.put(ctx, to, content, size)
}

// put runs writeScript.
func (h *Host) put(ctx context.Context, to remote.File, content io.Reader, size int64) error {
	target, err := absolute(to.Path)
	if err != nil {
		return err
	}
	up := &upload{content: content, left: size, sum: sha256.New()}
	err = h.exec(ctx, call{
		script: writeVariables(target, to, size) + writeScript,
		label:  "write " + remote.Quote(target),
		stdin:  up,
	})
	if cause := up.failed.Load(); cause != nil && err != nil {
		return *cause // the script can only tell that the content was cut
	}
	return err
}

// upload is the standard input of writeScript: the content and, only if that
// was exactly as long as announced, its SHA-256 on a line.
type upload struct {
	content io.Reader
	left    int64
	sum     hash.Hash
	trailer []byte
	checked bool
	failed  atomic.Pointer[error] // read by put while a late Read may go on
}

func (u *upload) Read(p []byte) (int, error) {
	if u.failed.Load() != nil {
		return 0, io.EOF
	}
	if u.left > 0 {
		n, err := u.content.Read(p[:min(int64(len(p)), u.left)])
		u.sum.Write(p[:n])
		u.left -= int64(n)
		if err != nil && u.left > 0 {
			return n, u.fail(err)
		}
		return n, nil
	}
	if !u.checked {
		u.checked = true
		if err := atEnd(u.content); err != nil {
			return 0, u.fail(err)
		}
		u.trailer = append(hex.AppendEncode(nil, u.sum.Sum(nil)), '\n')
	}
	if len(u.trailer) == 0 {
		return 0, io.EOF
	}
	n := copy(p, u.trailer)
	u.trailer = u.trailer[n:]
	return n, nil
}

func (u *upload) fail(err error) error {
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the source ended %d bytes early: %w", u.left, io.ErrUnexpectedEOF)
	}
	u.failed.Store(&err)
	return io.EOF
}

// atEnd returns nil if r has nothing more and ended well.
func atEnd(r io.Reader) error {
	n, err := io.ReadFull(r, make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("the source grew while it was read")
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// Open streams a regular file of any size. A connection that is lost shows as
// an error of the content's Read, never as its end.
func (h *Host) Open(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	content, size, err := h.open(ctx, path)
	if err != nil {
		return nil, 0, fmt.Errorf("opening %s on %s: %w", path, h.target.name, err)
	}
	return content, size, nil
}

func (h *Host) open(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	path, err := absolute(path)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	todo := call{
		script: assign("f", path) + readScript,
		label:  "read " + remote.Quote(path),
		stdout: w,
		reads:  true,
		slots:  streams,
	}
	h.bounded(&todo, "reading "+path)
	todo.asks = "" // it may take an hour, and whoever copies tells of that
	go func() { w.CloseWithError(h.exec(ctx, todo)) }()
	s := &stream{Reader: bufio.NewReaderSize(r, 64<<10), pipe: r, cancel: cancel}
	head, err := readHeader(s.Reader)
	if err != nil {
		s.Close()
		return nil, 0, err
	}
	return s, head.size, nil
}

// readHeader reads the lines of a header one by one.
func readHeader(r *bufio.Reader) (header, error) {
	var lines []byte
	for i := range headerLines {
		line, err := r.ReadBytes('\n')
		lines = append(lines, line...)
		if i == 0 && string(line) == "absent\n" {
			break
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return header{}, err
		}
	}
	head, _, err := parseHeader(lines)
	return head, err
}

// stream is the content of an open file.
type stream struct {
	*bufio.Reader
	pipe   *io.PipeReader
	cancel context.CancelFunc
}

// Close ends the command that reads the file.
func (s *stream) Close() error {
	s.cancel()
	return s.pipe.Close()
}
