# Everything a person or CI runs. Each target works on a new machine and where .venv exists.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
QUICK := tests/losses/test_values.py tests/losses/test_costs.py tests/losses/test_pairs.py tests/test_memory.py tests/test_cross_batch.py \
  tests/test_runs.py tests/test_row_search.py tests/metrics tests/data/test_data_set.py tests/data/test_folder.py tests/data/test_csv.py \
  tests/data/test_pk_batches.py tests/training/test_settings.py

.PHONY: demo test quick test-long test-browser check docs figures bench clean

demo: $(READY)  ## train on the embedded data set without and with memory; print the table, write the report
	rm -rf runs/demo
	$(BIN)/crossbatch compare --recipe glyphs-demo --out runs/demo

test: $(READY)  ## the whole suite, a process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

quick: $(READY)  ## the inner loop, under a minute: formulas, memory, options, data; no training
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal --hypothesis-profile quick $(QUICK)

test-long: $(READY)  ## the suite with 500 cases a property, and runs that are killed; half an hour
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal --hypothesis-profile long -m "not browser" --jaxtyping-packages=crossbatch,shape_checks.checked

test-browser: $(READY)  ## the page of a gallery in Chromium, which must be installed: apt install chromium, or its path in CROSSBATCH_CHROMIUM
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 -m "browser and not long" tests/browser

check: $(READY)  ## lint, format, types, the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## the site, into build/site; strict: a broken link or anchor fails it
	$(BIN)/python scripts/reference.py docs/reference
	$(BIN)/zensical build --strict --clean

figures: $(READY)  ## every figure of README and docs; trains the demo first where runs/figures is not there, ten minutes
	test -f runs/figures/comparison.json || $(BIN)/crossbatch compare --recipe glyphs-demo --out runs/figures
	$(BIN)/python -m benchmarks.plot
	$(BIN)/python -m benchmarks.study.figures
	$(BIN)/python -m scripts.figures runs/figures docs/figures

bench: $(READY)  ## every loss against the floor and its peers; what a step costs without and with the memory
	$(BIN)/python -m benchmarks.losses --sources random
	$(BIN)/python -m benchmarks.losses --sources trained near --contenders crossbatch --out losses-sources
	$(BIN)/python -m benchmarks.losses --sources random --losses contrastive --contenders crossbatch --dtype bfloat16 --out losses-bfloat16
	$(BIN)/python -m benchmarks.losses --sources random --rows 1000 10000 60000 250000 1000000 --dims 128 512 --batches 64 256 --losses contrastive multi-similarity --out losses-rows
	$(BIN)/python -m benchmarks.plot
	$(BIN)/python -m benchmarks.step_cost
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	$(BIN)/python -m benchmarks.evaluation

clean:  ## remove what can be made again; runs/ stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("crossbatch needs Python 3.11 or newer; try make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
