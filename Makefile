.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: help setup demo test check mutants bench tables clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## make .venv with everything in it

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing (about 3 minutes on a new machine) ..."
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[demo]' --group dev
	@touch $(STAMP)

demo: setup ## import a real shop, train, judge, and answer at http://127.0.0.1:8000
	@$(BIN)/intently demo

check: setup ## format, lint, types and import rules
	@$(BIN)/ruff format --check src tests benchmarks
	@$(BIN)/ruff check src tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

test: setup check ## everything that must pass
	@sh scripts/browser.sh
	@sh scripts/tracer.sh
	@$(BIN)/python -m pytest -n 2

mutants: setup ## show that the tests of reliability fail where the source is wrong
	@$(BIN)/python tests/reliability/mutants.py

bench: setup ## the README's figures that need no private data
	@$(BIN)/python benchmarks/complete_journey.py

tables: setup ## write benchmarks/results into the README
	@$(BIN)/python benchmarks/tables.py

clean: ## remove what was made, but no data
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
