# One command is the whole gate: `make test` (which .ci/run calls) builds without warnings, lints, and runs every test.

# The Debian packages that building, testing and the demo need; the only list of them.
PACKAGES = libfuse3-dev fuse3 libdeflate-dev libzstd-dev pkg-config qemu-utils e2fsprogs xfsprogs dosfstools fio shellcheck

SWIFT ?= swift
# A target may import only what Package.swift declares for it.
CHECKS = --explicit-target-dependency-import-check error
SUDO = $(if $(filter-out 0,$(shell id -u)),sudo)
PREFIX ?= /usr/local
# Where mount(8) looks for helpers; it does not follow PREFIX.
SBIN ?= /sbin

.PHONY: deps build release lint test demo install

build: ## The debug build of everything, tests included.
	$(SWIFT) build --build-tests $(CHECKS)

release:
	$(SWIFT) build -c release --product flatcow $(CHECKS)

deps: ## Installs what is missing of PACKAGES, and lets everybody open /dev/fuse as udev would have.
	@dpkg-query -W -f='$${Status}\n' $(PACKAGES) 2>/dev/null \
	  | grep -c '^install ok installed' | grep -qx $(words $(PACKAGES)) \
	  || { $(SUDO) apt-get update -q \
	       && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(PACKAGES); }
	@if [ "$$(id -u)" = 0 ] && [ -c /dev/fuse ]; then chmod 0666 /dev/fuse; fi

lint:
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift
	shellcheck .ci/run

test: build lint ## The gate. The last line says how many tests ran.
	$(SWIFT) test --skip-build --disable-xctest $(CHECKS)
