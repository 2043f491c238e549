# `make` alone lists the targets. The server, its tools and `make test` need only Go and
# make; what else a target needs is in its line. CI runs `make check`.

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.9.0

# Everything that is built to run is built without a C compiler; `race` alone needs one.
export CGO_ENABLED := 0

GO      ?= go
TAGS    ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The same commit gives the same bytes, wherever it is built: no paths, no build id of the
# machine; commit and time are the ones git knows.
in_git     := $(shell git rev-parse --verify -q HEAD >/dev/null 2>&1 && echo true || echo false)
buildflags := -trimpath -buildvcs=$(in_git) -tags '$(TAGS)' -ldflags '-s -w -buildid= -X main.version=$(VERSION)'

golangci_lint := bin/golangci-lint-$(GOLANGCI_LINT_VERSION)
govulncheck   := bin/govulncheck-$(GOVULNCHECK_VERSION)

# What `check` runs, in this order: the quick and telling first.
checks := build lint test openssl race examples cross journeys crash-short vuln

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run build test openssl race postgres lint vuln journeys goclients fuzz bench crash crash-short soak \
	cover examples cross dist check tools clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build and start an issuer on https://localhost:8443, data in ./bulla-data
	./bulla serve

build: bulla ## build ./bulla, static and reproducible
bulla: FORCE
	$(GO) build $(buildflags) -o $@ ./cmd/bulla

test: ## all tests that need only Go (and PostgreSQL if TEST_POSTGRES is set)
	@.ci/say-skipped
	$(GO) test -timeout 15m ./...

race: ## the same under the race detector (needs a C compiler)
	@.ci/say-skipped
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...

openssl: ## the tests of the build that signs with the system's libcrypto
	CGO_ENABLED=0 $(GO) vet -tags openssl ./...
	CGO_ENABLED=0 $(GO) test -tags openssl ./internal/openssl ./internal/token ./internal/app

postgres: ## the tests that touch a store, on a PostgreSQL started for them
	.ci/with-postgres $(GO) test -count=1 -timeout 15m ./internal/store/... ./internal/grant/... ./internal/app/... ./authtest/... ./tokensource/sqlstore/...

SOAK_ROUNDS ?= 50
soak: ## the races over refresh tokens, SOAK_ROUNDS (50) rounds each, on both engines
	BULLA_RACE_ROUNDS=$(SOAK_ROUNDS) .ci/with-postgres $(GO) test -count=1 -timeout 30m -run 'HundredPresentations|RevocationRacesRefresh' ./internal/grant

lint: $(golangci_lint) ## formatting, vet, linters, tidy modules
	@unformatted=$$(gofmt -l $$($(GO) list -f '{{.Dir}}' ./...) journeys/goclients/*.go) && \
		{ [ -z "$$unformatted" ] || { printf 'not gofmt-ed:\n%s\n' "$$unformatted"; exit 1; }; }
	$(GO) vet ./...
	cd journeys/goclients && $(GO) vet ./...
	$(golangci_lint) run
	$(GO) mod tidy -diff
	cd journeys/goclients && $(GO) mod tidy -diff

vuln: $(govulncheck) ## known vulnerabilities that our code reaches (needs the vulnerability database)
	@.ci/vuln $(govulncheck)

journeys: build goclients journeys/node_modules/.package-lock.json ## official clients against ./bulla (needs Node, chromium, certutil)
	BULLA='$(CURDIR)/bulla' GO='$(GO)' node journeys/run.mjs
journeys/node_modules/.package-lock.json: journeys/package.json journeys/package-lock.json
	cd journeys && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

goclients: build ## the Go clients of the journeys alone
	cd journeys/goclients && BULLA='$(CURDIR)/bulla' $(GO) test -count=1 -timeout 10m ./...

FUZZTIME ?= 20s
fuzz: ## every fuzz target for FUZZTIME (20s)
	@GO='$(GO)' .ci/fuzz $(FUZZTIME)

bench: build ## measure ./bulla against the floor program; the tables of docs/figures.md (Linux)
	$(GO) run ./experiments/bench -bulla ./bulla

CRASH_KILLS ?= 200
crash: build ## kill the server CRASH_KILLS (200) times under load; nothing it acknowledged may be lost
	$(GO) run ./experiments/crash -bulla ./bulla -kills $(CRASH_KILLS)
crash-short:
	@$(MAKE) --no-print-directory crash CRASH_KILLS=10

cover: ## coverage of all packages by all tests, in coverage.out
	$(GO) test -timeout 15m -coverpkg=./... -coverprofile=coverage.out ./...
	@$(GO) tool cover -func=coverage.out | tail -1

examples: ## build the examples
	$(GO) build -o /dev/null ./examples/api
	$(GO) build -o /dev/null ./examples/machine
	node --check examples/spa/serve.mjs
	node --check examples/spa/public/app.js

cross: ## the command compiles for the other systems too
	GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/bulla
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/bulla

dist: ## release archives for linux, darwin, windows and their checksums, in ./dist (GNU tar)
	VERSION='$(VERSION)' GO='$(GO)' BUILDFLAGS="$(buildflags)" .ci/dist

tools: $(golangci_lint) $(govulncheck) ## build the pinned tools into ./bin
$(golangci_lint):
	@.ci/tool $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
$(govulncheck):
	@.ci/tool $@ golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

check: ## exactly what CI runs (PostgreSQL: TEST_POSTGRES, else one is started)
	@.ci/with-postgres .ci/check $(checks)

clean: ## remove what was built
	rm -rf bulla bin dist coverage.out
