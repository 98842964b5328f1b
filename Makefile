# One command is the whole gate: `make test` (which .ci/run calls) builds without warnings, lints, and runs every test.

# The Debian packages that building, testing and the demo need; the only list of them.
PACKAGES = libfuse3-dev fuse3 libdeflate-dev zlib1g-dev libzstd-dev pkg-config qemu-utils qemu-system-common e2fsprogs xfsprogs dosfstools mtools fio shellcheck valgrind

# What the benchmarks need beyond that: the peers, and tools to look into them.
BENCH_PACKAGES = nbdkit libnbd-bin btrfs-progs strace

SWIFT ?= swift
# A target may import only what Package.swift declares for it.
CHECKS = --explicit-target-dependency-import-check error
SUDO = $(if $(filter-out 0,$(shell id -u)),sudo)
PREFIX ?= /usr/local
# As many tests at once as there are threads for them: one that waits for its turn must not use up its time limit.
TEST = SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=$(shell nproc) $(SWIFT) test --skip-build --disable-xctest $(CHECKS)
# Where mount(8) looks for helpers; it does not follow PREFIX.
SBIN ?= /sbin

.PHONY: deps bench-deps build release lint test test-full torture survival concurrency tsan mutants bench bench-plots bench-programs install demo

build: ## The debug build of everything, tests included.
	$(SWIFT) build --build-tests $(CHECKS)

# What is installed runs on hosts without Swift.
RELEASE = $(SWIFT) build -c release --static-swift-stdlib $(CHECKS)
release .build/release/flatcow:
	$(RELEASE) --product flatcow

deps: ## Installs what is missing of PACKAGES, and lets everybody open /dev/fuse as udev would have.
	@$(call install,$(PACKAGES))
	@if [ "$$(id -u)" = 0 ] && [ -c /dev/fuse ]; then chmod 0666 /dev/fuse; fi

bench-deps: deps ## Installs what is missing of BENCH_PACKAGES.
	@$(call install,$(BENCH_PACKAGES))

# Installs what is missing of a list of packages.
install = dpkg-query -W -f='$${Status}\n' $(1) 2>/dev/null \
  | grep -c '^install ok installed' | grep -qx $(words $(1)) \
  || { $(SUDO) apt-get update -q \
       && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(1); }

lint:
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift
	shellcheck .ci/run docs/demo.sh Tests/Mutants/run.sh

test: deps build release lint ## The gate. The last line says how many tests ran.
	$(TEST)

test-full: deps build release ## Everything, where the gate tries a selection.
	FLATCOW_FULL=1 $(TEST)

ROUNDS ?= 4
torture: deps build ## Cuts the power in a million ways, and tells what was lost; a round more is some minutes more.
	FLATCOW_ROUNDS=$(ROUNDS) $(TEST) --filter CrashConsistencyTests.TortureTests

survival: ROUNDS = 100
survival: deps build ## kill -9 and other random tests, with ROUNDS times as many seeds as in the gate.
	FLATCOW_ROUNDS=$(ROUNDS) $(TEST) --filter 'BackingChainTests.RandomProgramTests|SurvivalTests'

SECONDS ?= 180
concurrency: deps build ## Everything at once on each kind of disk, for SECONDS.
	FLATCOW_SECONDS=$(SECONDS) $(TEST) --filter ConcurrencyTests

# What the sanitizer cannot see by itself, see Tests/ThreadSanitizer/SwiftMutex.c.
TSAN = .build/tsan
tsan: deps ## Whatever runs in several threads, by the thread sanitizer; any report fails.
	$(SWIFT) build --build-tests --sanitize=thread --scratch-path $(TSAN) $(CHECKS)
	clang -O1 -Wall -Wextra -Werror -shared -fPIC -o $(TSAN)/libSwiftMutex.so Tests/ThreadSanitizer/SwiftMutex.c
	SWIFT_BACKTRACE=enable=no FLATCOW_STRIDE=10 TSAN_OPTIONS=exitcode=66 LD_PRELOAD=$(CURDIR)/$(TSAN)/libSwiftMutex.so \
	  $(TSAN)/debug/flatcowPackageTests.xctest --testing-library swift-testing --filter \
	  'ConcurrencyTests|StreamJobTests|DiskExportTests|BackingChainTests|FailingStorage|MonitorTests|LockTests|ServingThreads|RequestTracker'

mutants: deps ## Breaks the engine in known ways, and demands that the tests notice each.
	Tests/Mutants/run.sh

# As: make bench ONLY='read-4k stream' ROUNDS=5 QSD=/another/qemu-storage-daemon BENCH_DIR=/a/disk
BENCH = PATH="$(CURDIR)/.build/release:$$PATH" .build/release/flatcow-bench --rounds $(ROUNDS) \
  $(ONLY:%=--only %) $(if $(QSD),--qsd $(QSD)) $(if $(BENCH_DIR),--directory $(BENCH_DIR))
bench bench-plots: bench-programs
bench: ROUNDS = 5
bench: ## Measures flatcow beside its peers, and writes docs/benchmarks.md; the whole takes 40 minutes.
	$(BENCH) --document docs/benchmarks.md

bench-plots: ROUNDS = 3
bench-plots: ## How costs grow with depth, size and threads: draws docs/plots.
	$(BENCH) --plots docs/plots

bench-programs: bench-deps release
	$(RELEASE) --product forwarding-server
	$(RELEASE) --product flatcow-bench

install: .build/release/flatcow ## The command, the links that mount(8) and umount(8) look for, and the completions of bash.
	install -D -m 755 .build/release/flatcow $(DESTDIR)$(PREFIX)/bin/flatcow
	install -d $(DESTDIR)$(SBIN) $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	for helper in mount.flatcow umount.flatcow umount.fuse.flatcow; do \
	  ln -sf $(PREFIX)/bin/flatcow $(DESTDIR)$(SBIN)/$$helper; \
	done
	.build/release/flatcow --generate-completion-script bash \
	  >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/flatcow

demo: deps release ## Shows all of it on images of its own; needs no root where `make deps` has run.
	PATH="$(CURDIR)/.build/release:$$PATH" docs/demo.sh
