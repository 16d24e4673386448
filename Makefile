# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
JOBS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types docs soak bench bench-peers clean help

help:
	@echo "make demo   install into .venv, build the example, show the result"
	@echo "make test   install into .venv, run the tests"
	@echo "make lint   ruff;  make types   mypy;  make docs   the site;  make soak   the long sweeps;  make bench   the benchmarks;  make bench-peers   beside other build systems"

# torch first and pinned: what would pull it in later takes the CUDA build.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 1; }
	@echo "making $(VENV) and installing (about 2.5 GB, some minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[example,test]'
	@touch $@

demo: $(STAMP)
	@test -f Compressfile || cp Compressfile.example Compressfile
	@echo '$$ cbuild all'
	@$(BIN)/cbuild all
	@echo
	@echo "published in build/.  Next: source .venv/bin/activate; cbuild all; cbuild report; cbuild why cpu-int8; cbuild graph --format svg -o graph.svg"

# By file: what a file sets up is set up once.
test: $(STAMP)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

# Strict: a dead link or a page outside of the navigation fails.
docs: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

# CBUILD_SOAK_MINUTES=60 bounds it; CBUILD_TRIES=N sets the cases of each sweep; CBUILD_SEED=N repeats one.
soak: $(STAMP)
	@$(BIN)/python tools/soak.py

bench: $(STAMP)
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/engine.py

# Each tool of Python gets an environment below .bench/peers; ninja and make are the system's. PEERS=…: options, as
# --sizes 10,1000 or --minutes 60.
PEERS ?= --minutes 22
bench-peers: $(STAMP)
	@$(BIN)/python -m benchmarks.peers --install --venvs .bench/peers --write $(PEERS)

clean:
	rm -rf build .cbuild cache/ac cache/cas cache/tmp cache/locks cache/quarantine cache/verified cache/version
