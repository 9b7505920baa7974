PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SCALE  := $(VENV)/.installed-scale
BROWSER := $(VENV)/.installed-browser
DEPLOY := .venv-deploy
DOCS   := $(VENV)/.installed-docs

# What is imported is compiled once, also where the caller's environment says otherwise: without it
# each command compiles 2,300 modules of Feast and torch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-browser test-scale test-deploy page dist docs lint soak clean

setup: $(STAMP)  ## the environment only

# Compiling what is never imported would take half of the time.
$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) from requirements.lock (a minute or two)..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## MovieLens the whole way: features, training set, ranker, top 10 from Redis
	@$(BIN)/feast-fusion demo

test: setup lint  ## style, types, import directions, then the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-browser: $(BROWSER)  ## the page at / in Chromium
	@command -v chromium >/dev/null || $(CHROMIUM) || echo "No chromium, and no right to install it: its tests are skipped."
	@$(BIN)/python -m pytest -rs tests/browser

CHROMIUM = { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; }

$(BROWSER): requirements.browser.lock $(STAMP)
	@echo "Adding requirements.browser.lock to $(VENV)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c requirements.lock -r requirements.browser.lock
	@touch $@

page:  ## the page at /, from page/ into serving/http/page; needs npm
	@cd page && npm ci --silent && npm run --silent build

test-scale: $(SCALE)  ## the tests of what runs on Ray, Spark and Iceberg
	@$(BIN)/python -m pytest -n 2 --dist loadfile tests/scale

$(SCALE): requirements.scale.lock $(STAMP)
	@echo "Adding requirements.scale.lock to $(VENV)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c requirements.lock -r requirements.scale.lock
	@touch $@

# An environment of its own: Airflow wants other versions of what we use too.
test-deploy: $(DEPLOY)/.installed  ## container, chart, compose file, the example of Airflow, wheel and sdist
	@$(DEPLOY)/bin/python -m pytest --confcutdir tests/deploy tests/deploy

$(DEPLOY)/.installed: requirements.deploy.lock
	@echo "Setting up $(DEPLOY) from requirements.deploy.lock..."
	@test -x $(DEPLOY)/bin/python || $(PYTHON) -m venv $(DEPLOY)
	@$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.deploy.lock
	@touch $@

dist: $(DEPLOY)/.installed  ## wheel and sdist of this version, in dist/
	@$(DEPLOY)/bin/python -m build --no-isolation --outdir dist .

docs: $(DOCS)  ## docs/ as a site in build/site, then the notebooks; a link that leads nowhere fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --clean --site-dir build/site
	@echo "The site: build/site/index.html"
	@$(BIN)/python -m pytest -n 2 tests/notebooks

$(DOCS): requirements.docs.lock $(STAMP)
	@echo "Adding requirements.docs.lock to $(VENV)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c requirements.lock -r requirements.docs.lock
	@touch $@

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

soak: setup  ## half an hour of clients and faults on a copy of the demo's workspace
	@$(BIN)/python -m tests.soak

clean:  ## remove the environment; .fusion/ (your data) stays
	rm -rf $(VENV) $(DEPLOY)
