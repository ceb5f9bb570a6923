# Everything below sets itself up in .venv/ with nothing but Python 3.11+ and the package registry; bench also takes curl,
# and test-distributed installs Postgres and Redis from Debian's packages where they are missing.
PYTHON ?= python3
AIRFLOW ?= 3.3.2
MATRIX = 2.11.2 3.0.6 3.1.8 3.2.2 3.3.2
# Beside the one that everything else runs on.
PYTHONS = python3.12 python3.13
# It and the newest run all slow tests, what lies between those that are marked "everywhere".
OLDEST = 2.11.2
# Many tests wait more than they work.
PROCESSES = 4
TESTS = tests
RUN = .venv/$(AIRFLOW)/bin/python
# Nothing is written beside the sources: a checkout stays clean.
export PYTHONPYCACHEPREFIX = $(CURDIR)/.venv/pycache

.PHONY: demo ui test test-pythons test-slow test-matrix test-faults test-distributed test-fuzz lint bench clean
.DEFAULT_GOAL = demo

demo: ## Promote a release between two simulated orgs on real Airflow, step by step
	@$(PYTHON) tools/environments.py $(AIRFLOW)
	@$(RUN) tools/demo.py

ui: ## The same orgs and a real Airflow UI, until Ctrl-C
	@$(PYTHON) tools/environments.py $(AIRFLOW)
	@$(RUN) tools/ui.py

test: ## The fast tests on the newest Airflow
	@$(PYTHON) tools/environments.py $(AIRFLOW)
	$(RUN) -m pytest -q -n $(PROCESSES) -m "not slow" tests

test-pythons: ## The same on other Pythons, as far as they are installed
	@set -e; for python in $(PYTHONS); do \
	  if ! $$python -c "" 2>/dev/null; then echo "== no $$python here"; continue; fi; \
	  echo "== $$python"; $$python tools/environments.py $(AIRFLOW)-$$python; \
	  .venv/$(AIRFLOW)-$$python/bin/python -m pytest -q -n $(PROCESSES) -m "not slow" tests; done

test-slow: ## Example DAGs, scheduler and triggerer for real
	@$(PYTHON) tools/environments.py $(AIRFLOW)
	$(RUN) -m pytest -q -n $(PROCESSES) -m slow --ignore tests/faults $(TESTS)

test-matrix: ## The Airflow tests, fast and slow, on every supported Airflow (the fast ones on the newest are in make test)
	@$(PYTHON) tools/environments.py $(MATRIX)
	@set -e; for version in $(MATRIX); do \
	  case $$version in $(OLDEST)) which="";; $(AIRFLOW)) which="slow";; *) which="not slow or everywhere";; esac; \
	  echo "== Airflow $$version"; .venv/$$version/bin/python -m pytest -q -n $(PROCESSES) -m "$$which" tests/airflow; done

test-faults: ## Every fault at every step of a promotion, and processes killed at random
	@$(PYTHON) tools/environments.py $(AIRFLOW)
	$(RUN) -m pytest -q -n $(PROCESSES) tests/faults

test-distributed: ## Fifty promotions on Celery, Postgres and Redis, with a worker and a triggerer killed
	@$(PYTHON) tools/environments.py $(AIRFLOW)-distributed
	@.venv/$(AIRFLOW)-distributed/bin/python tools/services.py
	.venv/$(AIRFLOW)-distributed/bin/python -m pytest -q tests/distributed

test-fuzz: ## 10,000 generated packages and 10,000 generated answers
	@$(PYTHON) tools/environments.py $(AIRFLOW)
	INFA_FUZZ_EXAMPLES=10000 $(RUN) -m pytest -q -n $(PROCESSES) tests/fuzz

lint: ## Style, and types in the whole package
	@$(PYTHON) tools/environments.py $(AIRFLOW)-lint
	.venv/$(AIRFLOW)-lint/bin/python -m ruff check .
	.venv/$(AIRFLOW)-lint/bin/python -m ruff format --check .
	.venv/$(AIRFLOW)-lint/bin/python -m mypy

bench: ## Measure against the alternatives
	@$(PYTHON) tools/environments.py $(AIRFLOW)-bench
	@set -e; for name in plan listing package parse waits; do \
	  echo "== benchmarks.$$name"; .venv/$(AIRFLOW)-bench/bin/python -m benchmarks.$$name; done

clean: ## Remove everything that make made
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
