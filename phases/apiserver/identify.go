package apiserver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Identifier reads from the API server behind a configuration what tells it from
// others that share all else with it.
type Identifier func(context.Context, *rest.Config) (string, error)

// Identify returns the Identifier to use, and what it says of the API server
// behind a configuration, which is known to be at own, host:port.
//
// An API server says in /api at which address and port it is
// (apiserver: pkg/server/config.go, ExternalAddress), but where its owner gave
// it --external-hostname: then all may say the same, and their start has to
// tell. That is in their metrics, megabytes that take a processor a tenth of a
// second each time: clients would notice.
func Identify(ctx context.Context, cfg *rest.Config, own string) (Identifier, string, error) {
	is, err := advertised(ctx, cfg)
	if err != nil {
		return nil, "", err
	}
	if is == own {
		return advertised, is, nil
	}
	is, err = started(ctx, cfg)
	return started, is, err
}

// advertised is where the API server behind a configuration says it is.
func advertised(ctx context.Context, cfg *rest.Config) (string, error) {
	resp, err := askWho(ctx, cfg, "/api")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var v metav1.APIVersions
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		return "", fmt.Errorf("asking %s who answers: %w", cfg.Host, err)
	}
	for _, a := range v.ServerAddressByClientCIDRs {
		if a.ClientCIDR == "0.0.0.0/0" {
			return a.ServerAddress, nil
		}
	}
	return "", fmt.Errorf("asking %s who answers: /api does not tell", cfg.Host)
}

// started is when the API server behind a configuration was started, in
// seconds since 1970, as its metrics have it.
func started(ctx context.Context, cfg *rest.Config) (string, error) {
	resp, err := askWho(ctx, cfg, "/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "process_start_time_seconds "); ok {
			return "started at " + value, nil
		}
	}
	return "", errors.Join(lines.Err(), fmt.Errorf("asking %s who answers: its metrics do not tell", cfg.Host))
}

// askWho sends one request over a connection of its own: on one that was kept
// the redirect would not show.
func askWho(ctx context.Context, cfg *rest.Config, path string) (*http.Response, error) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 15 * time.Second,
		Transport: &http.Transport{TLSClientConfig: tlsConfig, DialContext: cfg.Dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Host+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, */*")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s who answers: %w", cfg.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("asking %s who answers: status %d", cfg.Host, resp.StatusCode)
	}
	return resp, nil
}
