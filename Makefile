# NightLab's commands. They need Python >= 3.10, make and a package registry.
#   make setup                     .venv with everything in it, checked; a second call does nothing
#   make setup PYTHON=python3.12   with another Python
#   make setup DETECTRON2=source   official Detectron2 main, built here (needs a C++ compiler and git);
#                                  or DETECTRON2=FOLDER for a checkout that lies on this machine
#   make demo                      trains a small model on made scenes and shows what it sees
#   make test                      linter, type checker, tests (in two processes; make test PROCESSES=8)
#   make format                    rewrites the code as `make lint` wants it
PYTHON ?= python3
DETECTRON2 ?= wheel
PROCESSES ?= 2
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready

.PHONY: setup demo test lint format force
.DELETE_ON_ERROR:

setup: $(STAMP)

demo: setup
	$(PY) tools/make_demo.py

test: setup lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(PROCESSES) --dist loadfile

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy nightlab

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

$(STAMP): $(wildcard requirements/*.txt) setup.py | $(PY)
	$(PY) -m pip install -r requirements/dev.txt
	$(PY) -m pip install --no-deps --no-build-isolation -e .
	$(PY) tools/install_detectron2.py --from "$(DETECTRON2)"
	$(PY) tools/check_install.py
	@touch $@

ifneq ($(DETECTRON2),wheel)
$(STAMP): force
endif

$(PY):
	@command -v "$(PYTHON)" > /dev/null || \
	  { echo "$(PYTHON) was not found. Name a Python >= 3.10: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "$(PYTHON) is Python %d.%d; NightLab needs 3.10 or newer. Name another one: make setup PYTHON=python3.12" % sys.version_info[:2])'
	"$(PYTHON)" -m venv $(VENV)
