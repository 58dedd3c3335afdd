VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all package check docs docs-links environment clean

PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

environment: $(VENV)/.ready_to_test

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) .
	touch $@

$(VENV)/.ready_to_test: $(VENV)/.ready
	$(PIP_INSTALL) '.[test]'
	touch $@

$(VENV)/.ready_for_docs: $(VENV)/.ready
	$(PIP_INSTALL) '.[docs]'
	touch $@

DEMO_CONTROLS := control_truth control_channel control_zero control_memory
DEMO_METHODS := ilc_pixel nilc
comma := ,
empty :=
space := $(empty) $(empty)
listed = $(subst $(space),$(comma),$(1))

demo: $(VENV)/.ready  ## simulate, clean and compare at nside 64 with the embedded default, and say where the report is
	$(BIN)/python main_sims.py dataset=demo scenario=nside64 splits.test=4
	for method in $(DEMO_CONTROLS); do $(BIN)/python main_clean.py dataset=demo method=$$method || exit 1; done
	for method in $(DEMO_METHODS); do \
		$(BIN)/python main_clean.py dataset=demo method=$$method stages=clean_with_parts || exit 1; \
	done
	$(BIN)/python main_analysis.py dataset=demo stages=analysis_with_parts \
		methods=[$(call listed,$(DEMO_CONTROLS) $(DEMO_METHODS))] parts_of=[$(call listed,$(DEMO_METHODS))]
	@echo "maps and spectra of the first simulation of each split:"
	@find datasets/demo/figures -name '*.png' | sort
	@cat datasets/demo/summary/test/summary_table.md
	@echo "report, to be opened in a browser: datasets/demo/report/test/report.html"
	@echo "all comparisons of the dataset: datasets/demo/comparisons/index.html"

check: environment  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## check, and every test that is not marked slow
	$(BIN)/pytest --numprocesses 2

test-all: check  ## the slow tests too
	$(BIN)/pytest --numprocesses 2 -m "slow or not slow"

package: environment  ## build sdist and wheel, and try the wheel away from the checkout
	$(BIN)/pytest -m slow tests/end_to_end/test_package.py -k away

docs: $(VENV)/.ready_for_docs  ## the site, in docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build/html

docs-links: $(VENV)/.ready_for_docs  ## whether what the site links to is there; needs a network
	$(BIN)/python -m sphinx -b linkcheck docs docs/_build/links

clean:  ## remove the environment and the demo
	rm -rf $(VENV) datasets/demo
