package probe

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxReasonLength bounds a reason that has to be taken from an error's text.
const maxReasonLength = 120

// reason is a short text for a failure. Failures of one cause have one
// reason: no address of a connection and no name of an object is part of it.
func reason(err error) string {
	var at *stageError
	if errors.As(err, &at) {
		return at.stage.String() + ": " + cause(at.err)
	}
	return cause(err)
}

func cause(err error) string {
	var late *timeoutError
	var answered answeredError
	var opErr *net.OpError
	switch {
	case errors.As(err, &late):
		return late.Error()
	case errors.As(err, &answered):
		return answered.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to host"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	if text, ok := certificateCause(err); ok {
		return text
	}
	if code, ok := statusOf(err); ok {
		return statusCause(code, err)
	}
	if errors.As(err, &opErr) {
		return short(opErr.Err.Error())
	}
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	return short(err.Error())
}

// certificateCause is short for what verifying a certificate says at length,
// with the names and times of the certificate.
func certificateCause(err error) (string, bool) {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return "certificate: signed by an unknown authority", true
	case errors.As(err, &host):
		return "certificate: not valid for this address", true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate: expired or not yet valid", true
	}
	return "", false
}

// statusCause adds the API server's own words where the fault is its own: they
// name etcd's error and no object.
func statusCause(code int, err error) string {
	var status apierrors.APIStatus
	// A body that is no Status of Kubernetes says nothing worth a line.
	if code < http.StatusInternalServerError || !errors.As(err, &status) || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return fmt.Sprintf("status %d", code)
	}
	return short(fmt.Sprintf("status %d: %s", code, status.Status().Message))
}

// statusOf returns the HTTP status of an API server's answer that client-go
// made an error of.
func statusOf(err error) (int, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code == 0 {
		return 0, false
	}
	return int(status.Status().Code), true
}

func short(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > maxReasonLength {
		text = text[:maxReasonLength] + "…"
	}
	return text
}
