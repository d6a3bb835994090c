# Everything that is done with this tree more than once. "make help" lists it.
#
# The programs under scripts/ do the work, so that CI, hooks and people call
# the same thing. A target that needs more than Go says so below.

GO ?= go
# How long each fuzz target runs in "make fuzz".
FUZZTIME ?= 60s
# How often "make soak" kills the server, and how many power cuts it tries.
KILLS ?= 200
CUTS ?= 1000
# The packages of "make race".
RACE ?= ./...

.DEFAULT_GOAL := build
.PHONY: build check test short race fuzz soak bench boot wine cross clean help

## build: the program, static and stripped, as ./postrider (its version comes from git)
build:
	CGO_ENABLED=0 $(GO) build -buildvcs=auto -trimpath -ldflags='-s -w' -o postrider ./cmd/postrider

## check: formatting and go vet, in seconds
check:
	@scripts/check

## test: all tests, with real clients (on Debian, root installs those that are missing), and cross-compilation
test:
	@scripts/test

## short: the tests of the packages alone: no clients, no proofs, nothing to install
short:
	$(GO) test -short ./...

## race: the tests under the race detector (needs a C compiler)
race:
	CGO_ENABLED=1 $(GO) test -race -short $(RACE)

## fuzz: every fuzz target for FUZZTIME (60s)
fuzz:
	@FUZZTIME='$(FUZZTIME)' scripts/fuzz

## soak: the proofs at length: KILLS (200) kills of a server under load, CUTS (1000) power cuts
soak:
	PROOF_KILLS=$(KILLS) PROOF_CUTS=$(CUTS) $(GO) test -count=1 -v -timeout 3h ./internal/proof

## bench: what it does in a second, beside what this machine can (BENCHARGS=-h: how to narrow it)
bench:
	$(GO) run ./bench $(BENCHARGS)

## boot: a real Debian with systemd in a virtual machine, with power cuts (root, qemu; BOOTARGS=-h)
boot:
	scripts/boot/boot $(BOOTARGS)

## wine: the Windows program and its service under Wine (root; WINEARGS=-h)
wine:
	scripts/boot/windows $(WINEARGS)

## cross: compile for every system and processor that is supported
cross:
	@scripts/cross

## clean: remove what make has made
clean:
	rm -f postrider postrider.exe

## help: this list
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)
