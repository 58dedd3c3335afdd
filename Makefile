VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all check environment clean

environment: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

demo: environment  ## build a tiny dataset with the embedded default, and draw it
	$(BIN)/python main_sims.py dataset=demo scenario=nside64
	@echo "maps and spectra of the first simulation of each split:"
	@find datasets/demo/figures -name '*.png' | sort

check: environment  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## check, and every test that is not marked slow
	$(BIN)/pytest --numprocesses 2

test-all: check  ## the slow tests too
	$(BIN)/pytest --numprocesses 2 -m "slow or not slow"

clean:  ## remove the environment and the demo
	rm -rf $(VENV) datasets/demo
