# Needs Python 3.11 and make, nothing else. `make PYTHON=/path/to/python3.11 ...`
# where it is not on the path. All else goes into .venv.
PYTHON ?= python3.11
RUN := .venv/bin/python
DEMO ?= runs/demo
# Compiling, which tests mostly do, takes one core; a file's tests share what it made.
PARALLEL ?= -n 2 --dist loadfile
# Of make stress.
FAULTS ?= 120
SEED ?= 0
# XLA 0.10 hands convolutions on CPUs to a library that makes a step a quarter slower.
CPU_FLAGS := --xla_cpu_experimental_ynn_fusion_type=-individual_convolution

.PHONY: help venv sample demo test test-all stress lint format clean

help:
	@echo "make sample    64 samples of the model that comes with the package"
	@echo "make demo      train, sample and evaluate a small LSGM on real digits"
	@echo "make test      fast tests; every command is started once"
	@echo "make test-all  all tests, also those that take minutes"
	@echo "make stress    kill, damage and spoil runs at random; count what is lost"
	@echo "make lint      formatting, lint, types"
	@echo "make format    mend formatting and what lint can mend"
	@echo "make venv      only the environment, .venv"
	@echo "make clean     remove .venv and caches; runs/ stays"

venv:
	@command -v $(PYTHON) > /dev/null || \
	{ echo "error: no $(PYTHON); say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) tools/environment.py

sample: venv
	$(RUN) -m experiments.sample --checkpoint=package:demo --num_samples=64

demo: export XLA_FLAGS ?= $(CPU_FLAGS)
demo: venv
	$(RUN) -m experiments.train --config=configs/demo.py --workdir=$(DEMO)
	$(RUN) -m experiments.sample --checkpoint=$(DEMO) --num_samples=64
	$(RUN) -m experiments.evaluate --checkpoint=$(DEMO)

# Tests that simulate several devices get a process of their own: there a stalled
# device ends the process, and nothing but theirs.
test: venv
	$(RUN) -m pytest -q $(PARALLEL) -m "not slow and not multidevice"
	$(RUN) -m pytest -q -m "not slow and multidevice"

test-all: venv
	$(RUN) -m pytest -q $(PARALLEL) -m "not multidevice"
	$(RUN) -m pytest -q -m "multidevice"

stress: venv
	$(RUN) -m tests.stress --faults=$(FAULTS) --seed=$(SEED)

lint: venv
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pyright

format: venv
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf .venv .venv.lock .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
