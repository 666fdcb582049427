# Two commands for a newcomer: make demo, make test. Each installs by itself what it needs and says so first.
.PHONY: help demo test check format bench fuzz interop torture soak lock clean
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
KEEP ?=
FUZZ_SECONDS ?= 600
TARGETS ?=
PYTEST_ARGS ?=

help:            ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## */\t/' | expand -t 12

demo:            ## two organisations on loopback exchange one protected letter; KEEP=1 leaves them running
	@deploy/setup demo
	@KEEP=$(KEEP) $(PYTHON) -m demo

test:            ## the whole suite, unit and system, on real components
	@deploy/setup test
	@$(PYTHON) -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check:           ## format, lint, strict types
	@deploy/setup check
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

format:          ## rewrite what the formatter and the linter can mend
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench:           ## every figure we quote, into bench/RESULTS.md
	@deploy/setup test
	@$(PYTHON) -m bench

fuzz:            ## ten minutes of bytes nobody sends, guided by coverage; FUZZ_SECONDS= sets another time, TARGETS= names some
	@deploy/setup check
	@$(PYTHON) -m pip install -q --disable-pip-version-check --require-hashes -r fuzz/requirements.lock
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTHON) -m fuzz $(TARGETS)

interop:         ## every S/MIME peer we can get, Thunderbird among them, both ways, into docs/interop.md
	@deploy/setup interop
	@$(PYTHON) -m interop

torture:         ## ten thousand mails while processes, disks, clocks and peers fail; SEED= repeats its acts, MAILS= sets how many
	@deploy/setup test
	@$(PYTHON) -m torture

soak:            ## an hour of a large hospital's mail: memory flat, nothing left; MINUTES= and RATE= (mails per second) set another
	@deploy/setup test
	@$(PYTHON) -m torture.soak

lock:            ## resolve the dependencies anew (needs uv)
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade pyproject.toml -o requirements.lock
	uv pip compile -q --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --extra dev pyproject.toml -c requirements.lock -o requirements-dev.lock

clean:           ## remove what the above made, Debian packages aside
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis fuzz/corpus fuzz/found build *.egg-info
