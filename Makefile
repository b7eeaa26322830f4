# migrate: see README.md. Everything here runs as root on a bare Debian 12
# machine with Go 1.26.8 or newer and make; what else it needs it installs.

KUBERNETES ?= 1.36.3
LONG       ?= 1
FUZZTIME   ?= 1m
BIN        := bin/migrate
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT     := $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS    := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
PREFIX     ?= /usr/local
DESTDIR    ?=
TOOL       := go tool -modfile=internal/tools/go.mod
PACKAGES   := systemd-container mmdebstrap debian-archive-keyring iproute2 util-linux mount openssh-client ca-certificates git
NEWER_KEYS := /usr/share/keyrings/debian-archive-trixie-stable.*
SUDO_USER_FLAG := $(if $(SUDO_USER_MODE),--sudo-user operator,)

export CGO_ENABLED := 0

SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c

.PHONY: help build install release deps rehearse bench test test-fast conformance fuzz e2e chaos verify generate clean

help:            ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

build:           ## build bin/migrate
	go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN) ./cmd/migrate

install: build   ## install the program, its manual page and bash completion; PREFIX=/usr/local and DESTDIR= are taken
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/migrate
	$(BIN) man > bin/migrate.8 && install -D -m 0644 bin/migrate.8 $(DESTDIR)$(PREFIX)/share/man/man8/migrate.8
	$(BIN) completion bash > bin/migrate.bash && install -D -m 0644 bin/migrate.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/migrate

# The same commit and the same Go give the same bytes on every machine: no path of it,
# no time and no state of the repository is in them (docs/releasing.md). Each program
# has a bill of materials of its own, read from the modules that the linker recorded.
release:         ## static programs for amd64 and arm64, their bills of materials and SHA256SUMS, in dist/
	rm -rf dist && mkdir -p dist
	set -e; for arch in amd64 arm64; do \
		file=dist/migrate-linux-$$arch; \
		GOOS=linux GOARCH=$$arch GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GOFLAGS="$(GOFLAGS)" \
			go build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o $$file ./cmd/migrate; \
		$(TOOL) cyclonedx-gomod bin -json -noserial -notimestamp -std -version $(VERSION) -output $$file.cdx.json $$file; \
	done
	cp LICENSE dist/
	cd dist && sha256sum * > SHA256SUMS && cat SHA256SUMS

# dpkg-query is asked first: with everything there, no package index is read. An
# older debian-archive-keyring is brought up to date: it lacks the keys of
# Debian 13, which some hosts of the end-to-end test have.
deps:            ## install the Debian packages that playgrounds need
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f '$${Status}\n' $$p 2>/dev/null | grep -q '^install ok installed' || echo $$p; done; \
		ls $(NEWER_KEYS) >/dev/null 2>&1 || echo debian-archive-keyring); \
	if [ -n "$$missing" ]; then echo "installing $$missing"; apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $$missing; fi

rehearse: deps build  ## build a playground cluster, migrate it while probing, print what was measured
	$(BIN) rehearse --kubernetes $(KUBERNETES) $(SUDO_USER_FLAG) --report out/report.json $(if $(KEEP),--keep,)

bench: deps build     ## rehearse in place and overlapped, one after the other, and compare what clients saw
	$(BIN) bench --kubernetes $(KUBERNETES) $(SUDO_USER_FLAG) --report out/bench.json

test: export CRASH_SAMPLE := large
test: test-fast e2e  ## all tests, with a larger sample of all crash points, and the end-to-end test on a fresh playground

# What somebody who changes the program runs again and again. `verify` has vetted all
# of it, and nobody debugs these binaries: linking them is a good part of the time. Of
# the instants at which the program may die a small sample is taken, and a few long
# tests are left out (phases/conformance: Share, OfEachStep, Long); `make test` takes a
# larger sample and all tests. What the tests allocate is short-lived, so it is collected
# less often, up to a bound; some packages wait for most of their time, so one package
# more than there are processors is tested at once.
test-fast: verify     ## the tests that need no playground, without the longest, with a small sample of all crash points
	GOGC=400 GOMEMLIMIT=2GiB go test -short -vet=off -ldflags='-s -w' -timeout 30m -p $$(( $$(nproc) + 1 )) $$(go list ./... | grep -v /e2e$$)

conformance:     ## the steps' laws and every instant at which the program may die, there and back, on a cluster in memory
	$(call counted,./phases/... -run 'Killed|Failed|Law|Cut')

# One target after the other, each for FUZZTIME; their seeds are tests as well.
# What is found lies in the package's testdata/fuzz, and fails `go test` from then on.
fuzz:            ## give every reader of foreign text random damage, a minute each; FUZZTIME=10m and FUZZ=Manifest are taken
	@set -e; for package in $$(grep -rl --include=*_test.go "^func Fuzz" . | xargs -n1 dirname | sort -u); do \
		for target in $$(nice -n 19 go test -list 'Fuzz.*$(FUZZ)' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			nice -n 19 go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x -parallel 1 $$package; \
		done; \
	done

# The cluster in memory tells how many instants, operations and cuts it went through.
define counted
@mkdir -p out
@echo "go test $(1)"; go test $(1) -count=1 -v -timeout 60m > out/conformance.log 2>&1 || { grep -vE '^ *(===|--- PASS)' out/conformance.log | tail -n 300; exit 1; }
@grep -E '^ +[a-z_]+[.]go:[0-9]+: [0-9]+ |^(ok|--- )' out/conformance.log | grep -v -- '--- PASS'
endef

e2e: deps build       ## the end-to-end test alone; KUBERNETES=1.33.13, SHAPE=haproxy, SUDO_USER_MODE=1 and LONG= (without the way back, the restore, the playbook) are taken
	@mkdir -p out
	KUBERNETES=$(KUBERNETES) MIGRATE_BIN=$(CURDIR)/$(BIN) SHAPE=$(SHAPE) LONG=$(LONG) $(call told,-skip TestChaos -timeout $(if $(LONG),90m,50m))

chaos: deps build     ## kill it and break what it works on, an hour of it; SEED=2 ROUNDS=2 CHAOS_LEGS= CHAOS_POINTS= as docs/chaos.md says
	@mkdir -p out
	CHAOS=1 SEED=$(SEED) ROUNDS=$(ROUNDS) KUBERNETES=$(KUBERNETES) MIGRATE_BIN=$(CURDIR)/$(BIN) $(call told,-run TestChaos -timeout 180m)

# What failed is said once more at the end: the log of an hour is long.
define told
go test ./e2e -count=1 -v $(1) 2>&1 | tee out/e2e.log || { awk -f e2e/failures.awk out/e2e.log; exit 1; }
endef

# staticcheck is built once and keeps what it has found of each package, as the Go
# command does: an unchanged program is looked at in seconds. ST1005 is off, since
# messages begin with names such as Kubernetes, and the cluster in memory says what
# real programs say. Of errcheck, what is closed is left out: it was read, or synced
# before. internal/tools/errcheck.txt and `//nolint:errcheck` with a reason leave out the rest.
verify:          ## formatting, vet, staticcheck, errcheck, and the sizes of functions and files
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "gofmt would change: $$bad"; exit 1; }
	go vet ./...
	$(TOOL) staticcheck -checks inherit,-ST1005 ./...
	@echo "errcheck ./..."; bad=$$($(TOOL) errcheck -ignoretests -exclude internal/tools/errcheck.txt ./... 2>&1 | grep -vE '//nolint:errcheck|[.]Close[(][)]' || true); \
		[ -z "$$bad" ] || { echo "an error is not looked at: $$bad"; exit 1; }
	go test ./internal/source

generate: build  ## write the playbooks of the example spec and docs/cli.md anew
	$(BIN) man --markdown > docs/cli.md
	for p in 1:loadbalancer 2:etcd 3:controlplane; do $(BIN) playbook -f testdata/migrate.yaml --phase $${p%%:*} > playbooks/phase-$${p%%:*}-$${p#*:}.md; done

clean:           ## remove what was built here; caches and playgrounds stay
	rm -rf bin out dist
