# SPDX-License-Identifier: Apache-2.0
# Every daily act is one line. PYTHON picks the interpreter; JOBS the parallelism.
PYTHON ?= python3
JOBS ?= $(shell nproc)
CMAKE ?= $(shell $(PYTHON) -c 'import cmake, os; print(os.path.join(cmake.CMAKE_BIN_DIR, "cmake"))' 2>/dev/null || echo cmake)
NINJA ?= $(shell $(PYTHON) -c 'import ninja, os; print(os.path.join(ninja.BIN_DIR, "ninja"))' 2>/dev/null || echo ninja)
CLANG_FORMAT ?= $(PYTHON) tools/format.py
CONFIGURE = $(CMAKE) -S . -G Ninja -DCMAKE_MAKE_PROGRAM=$(NINJA) -DPython_EXECUTABLE=$(shell command -v $(PYTHON))
export PYTHONPATH := python

.PHONY: help build test test-all cpp-test lint format asan tsan ubsan fuzz-asan bench bench-check stubs size wheel clean

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' Makefile

build/build.ninja:
	$(CONFIGURE) -B build -DMXNET_BUILD_TESTS=ON

build: build/build.ninja  ## build the core and the extension into python/mxnet/
	$(NINJA) -C build -j $(JOBS) mxnet _ext

test: build  ## the quick tests
	$(PYTHON) -m pytest -q -m "not slow"

test-all: build cpp-test  ## every test
	$(PYTHON) -m pytest -q

cpp-test: build/build.ninja  ## the core's own tests (one: build/mxnet_tests -tc='*name*')
	$(NINJA) -C build -j $(JOBS) mxnet_tests
	build/mxnet_tests

lint:  ## everything that CI checks without building
	$(PYTHON) -m ruff check .
	$(PYTHON) tools/format.py --check
	$(PYTHON) tools/check_includes.py
	$(PYTHON) tools/check_sizes.py
	$(PYTHON) tools/check_map.py

format:  ## format C++ and fix what ruff can fix
	$(PYTHON) tools/format.py
	$(PYTHON) -m ruff check --fix .

asan tsan ubsan: SANITIZER = $(if $(filter asan,$@),address,$(if $(filter tsan,$@),thread,undefined))
asan tsan ubsan:  ## the core's own tests under a sanitizer (ARGS='-tc=*engine*' picks some)
	$(CONFIGURE) -B build-$@ -DMXNET_BUILD_TESTS=ON -DMXNET_BUILD_PYTHON=OFF -DMXNET_SANITIZE=$(SANITIZER)
	$(NINJA) -C build-$@ -j $(JOBS) mxnet_tests
	TSAN_OPTIONS="suppressions=tests/cpp/tsan.supp $$TSAN_OPTIONS" build-$@/mxnet_tests $(ARGS)

fuzz-asan: ARGS = 1 20
fuzz-asan:  ## every operator with random arguments under AddressSanitizer (ARGS='SEED CALLS'); replaces the package's build
	$(CONFIGURE) -B build-fuzz-asan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMXNET_SANITIZE=address -DMXNET_INPLACE=ON
	$(NINJA) -C build-fuzz-asan -j $(JOBS) mxnet _ext
	for script in tests/ops/fuzz_run.py tests/oracle/changed_run.py; do \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 $(PYTHON) $$script $(ARGS) || exit 1; done

bench: build  ## benchmarks beside their peers (ARGS='--peer torch=PYTHON --into figures.json')
	$(PYTHON) benchmarks/run.py $(ARGS)

bench-check: build  ## a minute of benchmarks beside PyTorch, with limits (PEER=its interpreter)
	$(PYTHON) benchmarks/run.py --quick --check --peer torch=$(PEER)

stubs: build  ## regenerate the .pyi stubs from the registry
	$(PYTHON) tools/generate_stubs.py

size:  ## sizes of files and functions
	$(PYTHON) tools/check_sizes.py

wheel:  ## a wheel in dist/
	$(PYTHON) -m pip wheel --no-deps -w dist .

clean:  ## remove build results
	rm -rf build build-*/ dist python/mxnet/libmxnet.so python/mxnet/_core/_ext.*.so
