package inputfile

import (
	"os"
	"path/filepath"
)

// Same says whether two names are of one file; of one that is not there yet the
// names are compared. An empty name is of no file.
func Same(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, err := os.Stat(a)
	if err != nil {
		return Standing(a) == Standing(b)
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// Standing is where a file stands: links to its folder are followed, one that it is
// itself is not. It is the name itself where the folder is not known.
func Standing(file string) string {
	at, err := filepath.Abs(file)
	if err != nil {
		return filepath.Clean(file)
	}
	return filepath.Join(LedTo(filepath.Dir(at)), filepath.Base(at))
}

// LedTo is where a file is when all links are followed, the name itself where it
// leads nowhere.
func LedTo(file string) string {
	if at, err := filepath.EvalSymlinks(file); err == nil {
		if at, err = filepath.Abs(at); err == nil {
			return at
		}
	}
	return file
}
