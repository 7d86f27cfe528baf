# Every target makes its own virtual environment first. `make` alone lists the targets.

VENV ?= .venv
PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo python3)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PHANTOM_OPTIONS ?= --patients 80 --effect 3 --seed 0
# Small pictures and few, large steps, so that the demo takes minutes; a third of the patients are for the test.
DEMO_OVERRIDES ?= --test_fraction 0.3 --image_size 96 --transfer_epochs 5 --fine_tune_epochs 4 \
    --transfer_batch_size 16 --fine_tune_batch_size 16 \
    --transfer_learning_rate 0.001 --fine_tune_learning_rate 0.0001

SEED ?= 0

# Some ten minutes on two quiet cores; what takes eight times as long hangs.
TEST_LIMIT ?= 80m

BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := $(shell grep "^torch==" constraints.txt)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# An index named by the user that is not the one installed from asks for a new environment.
ifneq ($(filter command environment,$(origin TORCH_INDEX)),)
ifneq ($(TORCH_INDEX),$(shell cat $(READY) 2>/dev/null))
NEW := new
endif
endif

# So does a Python named by the user that is not the one that is there, or the tests would run in that.
ifneq ($(filter command environment,$(origin PYTHON)),)
ifneq ($(shell $(PYTHON) -V 2>&1),$(shell $(BIN)/python -V 2>&1))
NEW := new
endif
endif

.PHONY: help install demo test test-slow mutation endurance bench lint types docs clean new

help:
	@echo "make install    set up $(VENV) and run nothing"
	@echo "make demo       write the phantom, train T1w on it, print the test AUC (minutes)"
	@echo "make test       lint, types, docs and the tests (minutes)"
	@echo "make test-slow  the tests that train for real (longer)"
	@echo "make mutation   put small faults into four rooms, one at a time, and count what the tests notice (half an hour)"
	@echo "make endurance  kill, interrupt and start twice every command, on small disks too; SEED=0 (hours)"
	@echo "make bench      measure ours beside the stock way, for docs/performance.md (half an hour, on a quiet machine)"
	@echo "make lint | types | docs    each alone"
	@echo "make clean      remove $(VENV) and what the tools left; data/ and runs/ stay"
	@echo
	@echo "Variables: PYTHON (3.11 or newer), VENV, TORCH_INDEX (the CPU build of PyTorch unless told"
	@echo "otherwise, e.g. https://download.pytorch.org/whl/cu130), DEMO_OVERRIDES, PHANTOM_OPTIONS,"
	@echo "TEST_LIMIT (when make test gives up, 80m), BENCH_OPTIONS, MUTATION_OPTIONS, ENDURANCE_OPTIONS."

# The stamp is written last, so a half-made environment is never taken as done.
# torch goes first and alone: plain PyPI would bring gigabytes of CUDA with it on Linux.
$(READY): setup.cfg constraints.txt $(NEW)
	@$(PYTHON) -c "import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or \
	    sys.exit(f'mgmt_monai needs Python 3.11 or newer, $(PYTHON) is {v}: make PYTHON=/path/to/python3.11')"
	@echo "Setting up $(VENV): $(TORCH) from $(TORCH_INDEX), then the rest of constraints.txt."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) setuptools
	@$(INSTALL) --no-deps --retries 1 --timeout 15 --index-url $(TORCH_INDEX) $(TORCH) || { \
	    echo "$(TORCH) did not come from $(TORCH_INDEX): taking it from pip's own configuration instead"; \
	    $(INSTALL) --no-deps $(TORCH); }
	@$(INSTALL) --no-build-isolation --editable ".[docs,test]"
	@echo "$(TORCH_INDEX)" > $@

install: $(READY)
	@echo "$(VENV) is ready: source $(BIN)/activate"

demo: $(READY)
	@test -e data/phantom/truth.json || $(BIN)/mgmt-monai phantom data/phantom $(PHANTOM_OPTIONS)
	MGMT_DATA_DIR=data/phantom $(BIN)/python -m monai.bundle run training --config_file bundles/t1w.json $(DEMO_OVERRIDES)
	@echo "The run with its curves and pictures: $(BIN)/mgmt-monai ui"

test: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 lint types docs
	@OMP_NUM_THREADS=1 timeout --foreground --kill-after 60 $(TEST_LIMIT) \
	    $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadgroup -o faulthandler_timeout=900 || { \
	    code=$$?; test $$code -ne 124 || echo "make test: stopped after $(TEST_LIMIT) (TEST_LIMIT), something hangs"; exit $$code; }

test-slow: $(READY)
	@$(BIN)/python -m pytest -m slow

# itk is MONAI's ITKReader's; nothing but this comparison needs it.
bench: $(READY)
	@$(INSTALL) --no-build-isolation --editable ".[bench]"
	@$(BIN)/python benchmarks/run.py $(BENCH_OPTIONS)

endurance: $(READY)
	@$(BIN)/python benchmarks/endurance.py --seed $(SEED) $(ENDURANCE_OPTIONS)

mutation: $(READY)
	@$(INSTALL) --no-build-isolation --editable ".[mutation]"
	@OMP_NUM_THREADS=1 nice -n 19 $(BIN)/python benchmarks/mutation.py $(MUTATION_OPTIONS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/mypy

docs: $(READY)
	@$(BIN)/sphinx-build -q -W --keep-going -n -j auto docs docs/_build
	@echo "docs/_build/index.html"

clean:
	rm -rf $(VENV) docs/_build docs/jupyter_execute build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
