# make demo    set up, then train the shipped model with MIO and with DPO, offline
# make test    set up, then run lint, types, import contracts and tests
# make lock    write the versions that CI installs, and the hashes of their files
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt

# the mkl wheel is 300 MB: only where MLX runs on the CPU and the system has no OpenBLAS
EXTRA := $(if $(filter Darwin,$(shell uname -s)),,$(if $(wildcard /usr/lib/*/openblas-pthread/libopenblas.so.0),,[cpu]))

# MLX's own BLAS is some 50 times slower on a Linux CPU; one thread each, as there are several workers; hundreds of
# processes are started, each of which would compile our modules where no bytecode is written
FAST_BLAS = $(shell $(BIN)/python -c 'from mio_local.process import fast_library as f; print(f() or "")')
TESTED = PYTHONDONTWRITEBYTECODE= LD_PRELOAD=$(FAST_BLAS) OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_THREADING_LAYER=SEQUENTIAL \
	$(BIN)/python -m pytest

.PHONY: demo test lint unit slow lock clean

demo: $(VENV)/base
	$(BIN)/mio-local demo

test: lint unit

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

# three workers for two cores: a quarter of the time a test waits, for a process or for the app
unit: $(VENV)/test
	$(TESTED) -n 3 --dist worksteal -m "not slow"

slow: $(VENV)/test
	$(TESTED) -n 3 --dist worksteal -m slow

$(VENV)/base: pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "installing into $(VENV) (a few minutes the first time)"
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
ifdef LOCKED
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement .ci/hashes.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
else
	$(PIP) --upgrade pip
	$(PIP) --editable '.$(EXTRA)'
endif
	touch $@

GROUPS := --group test --group oracle --group lint

$(VENV)/test: $(VENV)/base
ifndef LOCKED
	$(PIP) --editable . $(GROUPS)
endif
	touch $@

lock:
	$(BIN)/python -m pip freeze --exclude-editable --exclude mio-local | sed 's/+cpu//; s/ @ .*//' > .ci/constraints.txt
	$(PIP) --dry-run --ignore-installed --report - --editable . $(GROUPS) pip hatchling editables \
		| $(BIN)/python .ci/hashes.py > .ci/hashes.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
