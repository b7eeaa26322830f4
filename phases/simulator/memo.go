package simulator

import (
	"crypto/tls"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/syntax"
)

// memo keeps what follows from a text alone and is dear to find out: the same
// scripts, certificates and manifests are read at every instant of every copy of
// a World. All copies share one.
type memo struct {
	scripts, texts, pairs, pods sync.Map
	waits                       sync.Map // scripts of commands that say that they run programs of others
}

// memoized returns what make returns for a key, asked once.
func memoized[K comparable, V any](m *sync.Map, key K, make func() V) V {
	if have, ok := m.Load(key); ok {
		if v, is := have.(V); is {
			return v
		}
	}
	v := make()
	m.Store(key, v)
	return v
}

// script is a parsed script, which running does not change.
type script struct {
	file *syntax.File
	err  error
}

func (m *memo) script(text string) (*syntax.File, error) {
	s := memoized(&m.scripts, text, func() script {
		file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
		return script{file, err}
	})
	return s.file, s.err
}

// pair is a certificate with its key, or why they are none.
type pair struct {
	tls.Certificate
	err error
}

// keyPair is tls.X509KeyPair.
func (m *memo) keyPair(cert, key []byte) (tls.Certificate, error) {
	p := memoized(&m.pairs, [2]string{string(cert), string(key)}, func() pair {
		c, err := tls.X509KeyPair(cert, key)
		return pair{c, err}
	})
	return p.Certificate, p.err
}
