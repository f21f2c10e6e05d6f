# The two commands of the README. Each sets up what it needs in .venv, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test fast tutorials docs lint audit peers clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable ".[py4dstem,hyperspy,live,explore,simulate,tutorials,docs,dev]"
	# numba's cache is filled by one process; tests that raced for it crashed, then and later.
	$(BIN)/python -c "import pyxem.signals, orix.quaternion.symmetry"
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
	rm -rf $(VENV) $(VENV)-audit .venv-peers rrvae_demo build/docs docs/tutorials
