# Every target makes .venv and installs what it needs. PYTHON chooses the interpreter (3.11 or later).
PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_DOCS := .venv/installed-docs

.DEFAULT_GOAL := help
.PHONY: help demo test check docs bench clean

help:
	@echo "make demo [CLIPS=folder] | test | check | docs | bench | clean"

# A stamp is written only after its install has succeeded, and is void when the requirements change.
$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev,train,eval]'
	touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/talkingface demo --out demo $(if $(CLIPS),--clips "$(CLIPS)")

# One thread per worker: the tests are many small computations.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadscope --cov --cov-report term --cov-fail-under 90

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED_DOCS)
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(INSTALLED)
	set -e; for script in benchmarks/*.py; do $(BIN)/python $$script; done

clean:
	rm -rf .venv build dist docs/_build *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
	find talkingface tests -name __pycache__ -type d -prune -exec rm -rf {} +
