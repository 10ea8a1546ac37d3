# Everything here needs Go, git and make, and nothing from the network beyond
# the modules in go.sum.

GO ?= go

# Tests and checks are built as users get the binary: what one of them compiled,
# the next one has, and the nodes that the process tests build.
export CGO_ENABLED = 0
export GOFLAGS := $(shell $(GO) env GOFLAGS) -trimpath

# The process tests are kept apart: they start whole clusters and measure silences,
# so nothing else should take the cores from them meanwhile.
PROCESS_TESTS = ./integration ./torture ./soak
# The simulation takes longest, on one core; so it begins first. Three at a time, because
# those that compare servers and sync files wait a lot.
UNIT_TESTS = ./node/simulation $(filter-out %/node/simulation,$(shell $(GO) list ./... | grep -v -e '/integration$$' -e '/torture$$' -e '/soak$$'))

# The packages with switches that turn rules off, behind the build tag "explore".
RULES = ./mesh ./replication ./node/replica ./node/explore

# Process tests that are quick and between them publish, consume, kill, wipe, copy, and
# change who votes and who leads: `make test` runs them with the race detector as well.
RACE_TESTS = ^Test(TourSingleNode|LeaderKilled|FollowerWiped|LeaderDiesDuringACopy|LeaderStepsDown|RestartSingleNode)$$
HAS_COMPILER := $(shell command -v $$($(GO) env CC))

# How long each fuzz target runs: a smoke test in `make test`, longer by hand
# with `make fuzz FUZZ_TIME=5m`.
FUZZ_TIME ?= 10s

.PHONY: build test beside lint format vet staticcheck unit process race race-some race-build fuzz simulate simulate-long schedules check-long power torture soak tools bench demo clean

build: ## one static binary, ./holdfast
	$(GO) build -o holdfast .

test: format vet unit ## everything that has to pass before a change lands
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=recurse process beside
	@[ -w /dev/fuse ] || echo "NOT TESTED HERE, for want of root and /dev/fuse: power cuts, disks that fail"
	@[ -n "$(HAS_COMPILER)" ] || echo "NOT TESTED HERE, for want of a C compiler: data races"

# Clusters of processes mostly wait. What only computes fills the gaps, and gives way.
beside:
	@$(if $(HAS_COMPILER),nice -n 19 $(MAKE) --no-print-directory race-build)
	@nice -n 19 $(MAKE) --no-print-directory schedules
	@nice -n 19 $(MAKE) --no-print-directory staticcheck
	@nice -n 19 $(MAKE) --no-print-directory fuzz FUZZ_TIME=1000x

lint: format vet staticcheck

format:
	@unformatted=$$($$($(GO) env GOROOT)/bin/gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w these files:" $$unformatted; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

unit:
	$(GO) test -p 3 -timeout 8m $(UNIT_TESTS)

schedules: ## what broke weaker versions of the protocol, with each rule on and off
	$(GO) vet -tags explore $(RULES)
	$(GO) test -tags explore -timeout 8m -run '^Test(CE|O|R|B)[0-9]|^TestSearchFinds' ./node/explore

# Exhaustive searches of the real cores for half of MINUTES, random walks for the
# other half. MEMORY_MB bounds the live heap of a search.
MEMORY_MB ?= 8000

check-long: ## the explorer, further: make check-long MINUTES=60
	EXPLORE_MINUTES=$(MINUTES) EXPLORE_MEMORY_MB=$(MEMORY_MB) $(GO) test -count=1 -timeout 0 -v -run 'KeepsTheRules|KeepTheRules' ./node/explore

race race-some race-build: export CGO_ENABLED = 1
race: ## the process tests with the race detector, in the tests and in the nodes; needs a C compiler
	$(GO) test -race -count=1 -timeout 30m -p 1 $(PROCESS_TESTS)

race-some:
	$(GO) test -race -count=1 -timeout 8m -run '$(RACE_TESTS)' ./integration

# So that building is done when race-some begins.
race-build:
	@$(GO) build -race -o /dev/null . && $(GO) test -race -c -o /dev/null ./integration

process: tools
	$(GO) test -count=1 -timeout 8m ./integration
	$(GO) test -count=1 -timeout 8m ./torture ./soak
	$(if $(HAS_COMPILER),@$(MAKE) --no-print-directory race-some)

# Each package's test binary is built once, and what a target finds worth keeping goes
# where `go test -fuzz` keeps it. GUIDE=-fuzz=. builds it as `go test -fuzz` does, so that
# the search follows the code that it reaches; for a thousand inputs that build, of every
# dependency anew, takes longer than they do.
GUIDE ?= $(if $(filter %x,$(FUZZ_TIME)),,-fuzz=.)
fuzz: ## every decoder of bytes from the network or the disk, one after the other
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	found=$$($(GO) env GOCACHE)/fuzz; \
	for folder in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n 1 dirname | sort -u); do \
		package=$$($(GO) list "./$$folder") && $(GO) test -c $(GUIDE) -o "$$work/test" "$$package" || exit 1; \
		for name in $$("$$work/test" -test.list '^Fuzz'); do \
			(cd "$$folder" && "$$work/test" -test.run '^$$' -test.fuzz "^$$name\$$" -test.fuzztime $(FUZZ_TIME) \
				-test.fuzzcachedir "$$found/$$package") >"$$work/log" 2>&1 || { cat "$$work/log"; exit 1; }; \
			echo "fuzzed $$package $$name"; \
		done; \
	done

# A run of the simulation is a function of its seed; a failure prints it.
SEED ?= 1
MINUTES ?= 10

simulate: ## one simulated run with a readable trace: make simulate SEED=7
	@$(GO) test -count=1 ./node/simulation -run '^TestReplay$$' -seed=$(SEED) -v

simulate-long: ## hunts with fresh seeds: make simulate-long MINUTES=60
	@$(GO) test -count=1 -timeout 0 ./node/simulation -run '^TestHunt$$' -hunt=$(MINUTES)m -v

power: ## cuts the power of stores and nodes at random moments: make power MINUTES=30; needs root and /dev/fuse
	$(GO) test -count=1 -timeout 0 -v -run '^TestPowerCuts$$' ./wal ./integration -power=$(MINUTES)m

# Real processes under every fault there is, and what checkers say of it. MINUTES is
# for each column: TARGETS=holdfast,always,default NODES=3 compares with JetStream.
# SEED=0 draws a fresh plan of faults. PREVIOUS is a git revision to upgrade from and
# to go back to. STORES=disk puts the nodes' disks into files of TMPDIR; it needs root.
TARGETS ?= holdfast
NODES ?= 3,5
PREVIOUS ?=
STORES ?= memory

torture: SEED = 0
torture: tools ## kill, freeze, wipe, damage, fill and cut off real nodes: make torture MINUTES=10
	$(GO) run ./torture -minutes $(MINUTES) -nodes $(NODES) -targets $(TARGETS) -seed $(SEED) -stores $(STORES) $(if $(PREVIOUS),-previous $(PREVIOUS))

soak: ## hours of churn, and what grows meanwhile: make soak MINUTES=120
	$(GO) run ./soak -minutes $(MINUTES)

tools: ## what torture makes networks with; without it, the nodes are on loopback
	@command -v ip >/dev/null && command -v tc >/dev/null || { apt-get update -qq && apt-get install -y -qq iproute2; } || true

bench: ## three nodes of ours beside three of nats-server, same load, same client
	$(GO) run ./bench

demo: ## three nodes in one process: publish, kill, wipe, heal, verify
	$(GO) run . demo

clean:
	rm -f holdfast
