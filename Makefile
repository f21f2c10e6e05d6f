# The two commands of the README. Each sets up what it needs in .venv, once.
PYTHON ?= python3
VENV := .venv
# Where programs of an environment lie; Windows has a word of its own.
PROGRAMS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(PROGRAMS)

.PHONY: demo test fast tutorials docs lint oldest newest numpy2 dist tag audit peers clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable ".[py4dstem,hyperspy,ebsd,live,explore,simulate,tutorials,docs,dev]"
	# numba's cache is filled by one process; tests that raced for it crashed, then and later.
	$(BIN)/python -W ignore -c "import pyxem.signals, orix.quaternion.symmetry, kikuchipy.signals.ebsd_master_pattern"
	touch $@

# Fit the shipped graphene, run COM and DPC, and write maps and a figure to rrvae_demo/.
demo: $(VENV)/ready
	$(BIN)/py4dstem-rrvae demo --out-dir rrvae_demo --overwrite

# Every test. Each worker begins with a share of its own, so that what a file's tests share is trained
# once.
test: $(VENV)/ready
	$(BIN)/python -m pytest -q -n auto --dist worksteal

# The tests to run often.
fast: $(VENV)/ready
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow"

# Every notebook of tutorials/, from a clean kernel.
tutorials: $(VENV)/ready
	$(BIN)/python tutorials/notebooks.py run

# The documentation, in build/docs/html. Each notebook is run once, and kept in build/docs/cache until its cells
# change (remove that folder after a change of the package); EXECUTE=off leaves them as they are.
EXECUTE ?= cache
docs: $(VENV)/ready
	EXECUTE=$(EXECUTE) PYTHONPATH=$(CURDIR) $(BIN)/python -m sphinx -W --keep-going -n -b html \
		-d build/docs/doctrees docs build/docs/html

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

# The tests to run often with other versions, in environments of their own: the oldest that pyproject.toml
# allows, the newest, and the newest without py4DSTEM, which needs numpy < 2. The oldest leave no room for
# simulators and notebooks, and what they are built on warns of them, which is no error there.
oldest: INSTALL := --constraint constraints-oldest.txt --editable ".[py4dstem,hyperspy,live,plot,tests]"
oldest: TESTS = $(shell grep -LE 'abtem|simulate|jupytext|skimage|explore|sphinx' tests/test_*.py)
oldest: WARNINGS := -W default
newest: INSTALL := --editable ".[py4dstem,hyperspy,live,explore,simulate,tutorials,docs,dev]"
newest: TESTS := tests
numpy2: INSTALL := --editable ".[hyperspy,live,explore,simulate,tutorials,docs,dev]" "numpy>=2"
numpy2: TESTS = $(shell grep -LE 'py4DSTEM|py4dstem_scans' tests/test_*.py)
oldest newest numpy2:
	$(PYTHON) -m venv $(VENV)-$@
	$(VENV)-$@/$(PROGRAMS)/python -m pip install --quiet --upgrade pip
	$(VENV)-$@/$(PROGRAMS)/python -m pip install --quiet $(INSTALL)
	$(VENV)-$@/$(PROGRAMS)/python -c "import pyxem.signals, orix.quaternion.symmetry"
	$(VENV)-$@/$(PROGRAMS)/python -m pytest -q -n auto -m "not slow" $(WARNINGS) $(TESTS)

# Source and wheel in dist/, as PyPI gets them.
dist:
	$(PYTHON) -m venv $(VENV)-dist
	$(VENV)-dist/$(PROGRAMS)/python -m pip install --quiet "build>=1.2" "twine>=6.1"
	rm -rf dist
	$(VENV)-dist/$(PROGRAMS)/python -m build
	$(VENV)-dist/$(PROGRAMS)/python -m twine check --strict dist/*

# Whether everything that names a version agrees with a tag: make tag TAG=v0.1.0
tag:
	$(PYTHON) tools/tag.py "$(TAG)"

# Known weaknesses of what is installed; asks the public lists.
audit: $(VENV)/ready
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet "pip-audit>=2.7"
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)-audit/installed.txt
	$(VENV)-audit/bin/pip-audit --requirement $(VENV)-audit/installed.txt --no-deps --disable-pip

# AtomAI and pyroVED in .venv-peers, for benchmarks.compare and the tests marked "peers".
peers:
	$(PYTHON) -m benchmarks.peers.install .venv-peers

clean:
	rm -rf $(VENV) $(VENV)-audit $(VENV)-oldest $(VENV)-newest $(VENV)-numpy2 $(VENV)-dist .venv-peers rrvae_demo dist build/docs docs/tutorials
