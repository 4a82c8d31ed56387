# make run, make test: see README.md.

SWIFT ?= swift
RUN_PRODUCTS = gulpd gulp-guard megamd megam gulpctl
RELEASE_PRODUCTS = $(RUN_PRODUCTS) simulate gulpd-unsynced
SEEDS ?= 100
PYTHON = .venv/bin/python

# Suites without processes, servers or deadlines, which only compute: they may keep all cores busy, so they run before
# the others and not beside them. What is not named here counts as one of the others.
COMPUTING_SUITES = ^(Raft|Store|Replica|Simulation|Linearizability|Storage|Discovery|Configuration|Gulpctl|LaunchModel|AssemblyFile)Tests\.|^AgentTests\.(World|Plan|Disconnect)Tests|^EngineTests\.(Simulation|Planner|Placement|ClusterView|StepBook)Tests

.NOTPARALLEL:
.PHONY: run test test-unit test-simulate test-planted test-crash-points test-end-to-end bench bench-raft bench-launches build release release-run deps deps-test format lint clean

# Builds in release and runs three members with agents, and two engines, on loopback until Ctrl-C.
run: release-run
	@bash cluster/run.sh

# Everything that must hold before a change goes in.
test: deps-test release test-unit test-simulate test-planted test-crash-points test-end-to-end

# EtcdClient is tested against the release build and against etcd.
test-unit: deps-test release
	# The product, not --build-tests: that would also build swift-protobuf's compiler, 700 files of C++.
	$(SWIFT) build --product gulpPackageTests
	$(SWIFT) test --skip-build --filter '$(COMPUTING_SUITES)'
	$(SWIFT) test --skip-build --skip '$(COMPUTING_SUITES)'

test-simulate: release
	.build/release/simulate --seeds $(SEEDS)

# Deliberate mistakes, each of which the simulator must catch: see Tests/Planted/planted.py.
test-planted: deps
	python3 -m unittest discover --quiet --start-directory Tests/Planted
	SWIFT="$(SWIFT)" python3 Tests/Planted/planted.py

# A crash at every write, sync and rename: see Tests/CrashPoints/crash_points.py.
test-crash-points: deps-test
	$(SWIFT) build --product crash-workload
	python3 Tests/CrashPoints/crash_points.py

test-end-to-end: release deps-test
	$(PYTHON) -m pytest Tests/EndToEnd

# h2load against gulpd and etcd 3.5.1 in turn: see bench/h2load.py.
bench: deps-test
	$(SWIFT) build -c release --product gulpd
	$(PYTHON) bench/h2load.py

# What consensus itself costs, in memory: see docs/raft.md.
bench-raft:
	$(SWIFT) build -c release --product raft-bench
	.build/release/raft-bench

# Time to running, writes and watch events of launches: see bench/launches.py.
bench-launches: deps-test release-run
	$(PYTHON) bench/launches.py

build: deps
	$(SWIFT) build

release: deps
	@for product in $(RELEASE_PRODUCTS); do $(SWIFT) build -c release --product $$product || exit 1; done

release-run: deps
	@for product in $(RUN_PRODUCTS); do $(SWIFT) build -c release --product $$product || exit 1; done

deps:
	@bash cluster/install-deps.sh run

deps-test:
	@bash cluster/install-deps.sh test

format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests

clean:
	rm -rf .build .venv bench-out
