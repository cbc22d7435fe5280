# Needs make, a POSIX shell and Python 3.11 or newer; everything else goes into .venv.
#   make run                      set up .venv, then run the default recipe
#   make test                     set up .venv, then run the test suite
#   make run PYTHON=python3.12    with another interpreter
#   make run ARGS="--set seed=1"  with more arguments

PYTHON = python3
ARGS =
VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

OLDEST = constraints-oldest.txt
OLD_VENV = .venv-oldest
OLD_TESTS = $(addprefix tests/,backbones e2e engine losses stages labelers/test_radbert.py \
    metrics/test_bertscore.py metrics/test_green_local.py)

.PHONY: help setup run test test-slow test-oldest lint docs clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(STAMP)

# DeepSpeed comes second and without build isolation, because its set-up imports torch.
# Made anew when what is installed should change; removed first, so that a failure is not "done".
$(STAMP): pyproject.toml constraints.txt
	@rm -f $(STAMP)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "ctfw needs Python 3.11 or newer; try: make PYTHON=python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@test "$$(uname)" != Linux || { \
	    DS_BUILD_OPS=0 $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
	    --no-build-isolation deepspeed || \
	    echo "DeepSpeed could not be installed: its tests will be skipped" >&2; }
	@touch $(STAMP)

run: $(STAMP)
	$(BIN)/ctfw run recipes/ours_heter.yaml $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest $(ARGS)

test-slow: $(STAMP)
	@$(BIN)/python -m pytest -m slow $(ARGS)

# Into an environment of its own; OLDEST=FILE names other versions in the same form.
test-oldest:
	@test -x $(OLD_VENV)/bin/python || $(PYTHON) -m venv $(OLD_VENV)
	@sed -n 's/^\([a-z0-9-]*==\).*/^\1/p' $(OLDEST) | grep -v -f - constraints.txt | \
	    cat - $(OLDEST) > $(OLD_VENV)/constraints.txt
	$(OLD_VENV)/bin/python -m pip install --disable-pip-version-check \
	    -c $(OLD_VENV)/constraints.txt -e '.[dev]'
	@$(OLD_VENV)/bin/python -m pytest $(OLD_TESTS) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check core plugins tests examples docs
	$(BIN)/ruff format --check core plugins tests examples docs
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Writes docs/reference from the code.
docs: $(STAMP)
	$(BIN)/python docs/generate_reference.py

clean:
	rm -rf $(VENV) $(OLD_VENV) build dist
