package phasestest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/test/bufconn"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

type maint struct{ pb.UnimplementedMaintenanceServer }

func (*maint) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{MemberId: 7}, Version: "3.6.8"}, nil
}

func TestSpike(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(5000000000, 0),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	crt, _ := x509.ParseCertificate(der)
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	pool := x509.NewCertPool()
	pool.AddCert(crt)
	for range 20 {
		start := time.Now()
		synctest.Test(t, func(t *testing.T) {
			l := bufconn.Listen(64 << 10)
			s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})))
			pb.RegisterMaintenanceServer(s, &maint{})
			go s.Serve(l)
			defer s.Stop()
			c, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://10.0.0.1:2379"}, Logger: zap.NewNop(),
				TLS:         &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
				DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return l.DialContext(ctx) })}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r, err := c.Status(t.Context(), "https://10.0.0.1:2379")
			if err != nil || r.Version != "3.6.8" {
				t.Fatal(r, err)
			}
			hl := bufconn.Listen(64 << 10)
			hs := &http.Server{ErrorLog: log.Default(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"kind":"NodeList","apiVersion":"v1","items":[]}`))
				_ = r.Header
			})}
			go hs.ServeTLS(hl, "", "")
			hs.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
			defer hs.Close()
			k, err := kubernetes.NewForConfig(&rest.Config{Host: "https://10.0.0.1:6443", TLSClientConfig: rest.TLSClientConfig{CAData: pemOf(der)},
				Dial: func(ctx context.Context, n, a string) (net.Conn, error) { return hl.DialContext(ctx) }})
			if err != nil {
				t.Fatal(err)
			}
			n, err := k.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(n, err)
			}
			time.Sleep(time.Minute)
		})
		t.Log(time.Since(start), runtime.NumGoroutine())
	}
}
