# Thin on purpose: the build is Meson's (meson.build), the steps are in tools/.
#   make        build everything into build/
#   make run    install what is needed, build, start a demo server in the foreground
#   make test   install what is needed, run every check and test
#   make nightly  the crash and kill tests with many more rounds
#   make bench  install what is needed, measure against the named peers
#   make format rewrite the sources in the house style
BUILD ?= build

all: tools-build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) >/dev/null
	@ninja -C $(BUILD) $(if $(V),-v,--quiet)

tools-build:
	@tools/install build

run: all
	@BUILD=$(BUILD) tools/demo

test: tools-build
	@tools/install test
	@tools/test

nightly: tools-build
	@tools/install test
	@tools/test nightly

bench: all
	@tools/install test bench
	@bench/run

format:
	@tools/format --write

clean:
	rm -rf build build-*

.PHONY: all tools-build run test nightly bench format clean
