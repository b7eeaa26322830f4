// Package inputfile reads the files that an operator names: specs, saved
// plans, inventories, programs to copy. The bound of each holds while it is
// read, for nobody knows the size of a pipe or a device before its end; and
// what is no regular file has a time limit as well, for a pipe may have no end
// and no writer.
package inputfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Stdin is the name that stands for standard input.
const Stdin = "-"

// patience is how long a pipe or a device may take: whoever decrypts a file
// into one may have to type a passphrase.
const patience = time.Minute

// Kind is what a file is expected to be.
type Kind struct {
	What     string // in the words of messages: "spec file"
	Max      int64  // bytes
	Patience time.Duration
}

// Read reads a whole file, or standard input where its name is "-". Errors name
// the file and what is true of it; fs.ErrNotExist is found in that of a file
// that is not there.
func (k Kind) Read(file string) ([]byte, error) {
	if file == Stdin {
		return k.from("standard input", os.Stdin)
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the %s: %w", k.What, err)
	case info.IsDir():
		return nil, fmt.Errorf("the %s %s is a folder: name a file in it", k.What, file)
	case info.Mode()&fs.ModeSocket != 0:
		return nil, fmt.Errorf("the %s %s is a socket, which is no file to read", k.What, file)
	case info.Mode().IsRegular():
		return k.open(file)
	}
	// Opening a pipe may take as long as reading it: until somebody writes.
	return k.inTime(file, func() ([]byte, error) { return k.open(file) })
}

func (k Kind) from(name string, f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the %s from %s: %w", k.What, name, err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("the %s %s is a folder: name a file in it", k.What, name)
	}
	if info.Mode().IsRegular() {
		return k.all(name, f)
	}
	return k.inTime(name, func() ([]byte, error) { return k.all(name, f) })
}

func (k Kind) open(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", k.What, err)
	}
	defer f.Close()
	return k.all(file, f)
}

func (k Kind) all(file string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, k.Max+1))
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", k.What, err)
	}
	if int64(len(data)) > k.Max {
		return nil, fmt.Errorf("the %s %s has more than %s, which is no %s", k.What, file, size(k.Max), k.What)
	}
	return data, nil
}

// inTime gives up on a read that does not end. Nothing can take a read back from
// a device: the routine stays until the program ends, which it does with this
// error.
func (k Kind) inTime(file string, read func() ([]byte, error)) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	limit := k.Patience
	if limit == 0 {
		limit = patience
	}
	done := make(chan result, 1)
	go func() {
		data, err := read()
		done <- result{data, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.data, r.err
	case <-timer.C:
		return nil, fmt.Errorf("the %s %s had no end within %s: it is a pipe or a device; name a file, or end what writes to it", k.What, file, limit)
	}
}

// size is a bound in words.
func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// mostQuoted is what a message shows of a value: enough to find it, too little for
// the content of a file that was named by mistake, which may be a key.
const mostQuoted = 40

// Quote is what a message shows of a value that stands in a file, in quotes.
func Quote(value string) string {
	if len(value) <= mostQuoted {
		return strconv.Quote(value)
	}
	return strconv.Quote(strings.ToValidUTF8(value[:mostQuoted], "")) + "…"
}

// Word is Quote of a value that stands without quotes in a message where it is
// short: a number, or a name.
func Word(value string) string {
	if len(value) <= mostQuoted {
		return value
	}
	return Quote(value)
}

// errUTF16 is text that Windows programs write.
var errUTF16 = errors.New("is text in UTF-16: save it as UTF-8")

// Text is the content of a text file without the mark that some editors put
// before it. Its error completes a sentence that begins with the file's name.
func Text(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, errUTF16
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), nil
}
