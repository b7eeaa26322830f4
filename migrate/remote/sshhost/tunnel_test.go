package sshhost

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// TestTunnelIsAConn runs the suite every net.Conn has to pass, deadlines
// included.
func TestTunnelIsAConn(t *testing.T) {
	t.Parallel()
	h := newServer(t).dial()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		listen, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, nil, err
		}
		defer listen.Close()
		accepted := make(chan net.Conn, 1)
		go func() {
			c, _ := listen.Accept()
			accepted <- c
		}()
		c1, err = h.DialContext(context.Background(), "tcp", listen.Addr().String())
		if err != nil {
			return nil, nil, nil, err
		}
		c2 = <-accepted
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

// TestHTTPThroughTunnel uses a client with every timeout there is, over
// HTTP/1 and HTTP/2.
func TestHTTPThroughTunnel(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	for _, http2 := range []bool{false, true} {
		web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-r.Context().Done()
			}
			io.WriteString(w, strings.Repeat(r.Proto, 1000))
		}))
		web.EnableHTTP2 = http2
		web.StartTLS()
		defer web.Close()
		transport := web.Client().Transport.(*http.Transport).Clone()
		transport.DialContext = h.DialContext
		transport.TLSHandshakeTimeout = 10 * time.Second
		transport.ForceAttemptHTTP2 = http2
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		for range 20 {
			response, err := client.Get(web.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || len(body) != 8000 || (response.ProtoMajor == 2) != http2 {
				t.Fatalf("%d bytes of %s, %v", len(body), response.Proto, err)
			}
		}
		s.cut() // one request may notice it, the next one has a connection again
		if response, err := client.Get(web.URL); err == nil {
			response.Body.Close()
		} else {
			wantUnknown(t, err)
		}
		response, err := client.Get(web.URL)
		if err != nil {
			t.Fatalf("after a cut: %v", err)
		}
		response.Body.Close()
		client.Timeout = 50 * time.Millisecond
		var timeout net.Error
		if _, err := client.Get(web.URL + "/slow"); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("a slow answer: %v", err)
		}
	}
}

// TestTLSHandshakeTimeout: a server that accepts and then says nothing.
func TestTLSHandshakeTimeout(t *testing.T) {
	t.Parallel()
	h := newServer(t).dial()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listen.Close()
	c, err := h.DialContext(t.Context(), "tcp", listen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != listen.Addr().String() {
		t.Errorf("the remote address is %s", got)
	}
	if err := c.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	err = tls.Client(c, &tls.Config{ServerName: "x"}).Handshake()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c2, err := h.DialContext(t.Context(), "tcp", listen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := tls.Client(c2, &tls.Config{ServerName: "x"}).HandshakeContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestLastWords: what is written just before Close arrives.
func TestLastWords(t *testing.T) {
	t.Parallel()
	h := newServer(t).dial()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listen.Close()
	for range 20 {
		c, err := h.DialContext(t.Context(), "tcp", listen.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		other, err := listen.Accept()
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, other)
		other.Close()
		if n != 100_000 || err != nil {
			t.Errorf("%d bytes arrived, %v", n, err)
		}
	}
}

func TestForwardingForbidden(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	s.set(func() { s.noForward = true })
	_, err := h.DialContext(t.Context(), "tcp", "127.0.0.1:2379")
	wantSentence(t, err, ErrForwarding, "cp1", "127.0.0.1:2379", "AllowTcpForwarding local", "systemctl reload ssh")
}

// TestTunnelsOutliveNothing: a tunnel ends with its connection, and the next
// dial gets a new one.
func TestTunnelsOutliveNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := s.dial()
	address := listening(t, func(c net.Conn) { io.WriteString(c, "hello\n") })
	for range 3 {
		c, err := h.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); line != "hello\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		s.cut()
		if _, err := r.ReadByte(); err == nil {
			t.Error("read after the connection was cut")
		}
		c.Close()
	}
}

// listening is the address of a listener that hands each connection to serve, and
// closes it when the test ends.
func listening(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listen.Close() })
	go func() {
		for {
			c, err := listen.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(t.Context(), func() { c.Close() })
			go serve(c)
		}
	}()
	return listen.Addr().String()
}
