# Second Look. `make run` starts the proxy; `make help` lists the rest.
# Everything lives in .venv; stamps in it, named after the content of what they installed, remember it: a second run
# starts at once, and so does one after a change of branch that left the lock alone.

VENV := .venv
BIN := $(VENV)/bin
# A file's tests stay in one worker, in the order of tests/conftest.py: what a module shares is made once.
TEST_ARGS := -n auto --dist loadfile --no-loadscope-reorder --durations 20
# What pytest makes of the tests' assertions is kept for the next run, whatever the environment says.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
FUZZ_S := 10
RUN_STAMP := $(VENV)/.installed-run-$(firstword $(shell sed '/^\[tool\./,$$d' pyproject.toml | cat - requirements.txt | cksum))
DEV_STAMP := $(VENV)/.installed-dev-$(firstword $(shell cksum requirements-dev.txt))
EXTRA_STAMP := $(VENV)/.installed-extra-$(firstword $(shell cksum requirements-extra.txt))
COMPILED := $(VENV)/.compiled
SOURCES := $(shell find addon -name '*.py')
# The lock names everything, so nothing is resolved. What we import is compiled once, at the end, by scripts/compile;
# pip would compile four times as much. pip itself comes with Python: it is there while it installs, and stays (13 MB)
# only where tests use it.
PIP := $(BIN)/python -m pip
PIP_INSTALL := $(PIP) install --quiet --disable-pip-version-check --no-deps --no-compile
PIP_COMES := $(BIN)/python -m ensurepip >/dev/null
PIP_GOES := ls $(VENV)/.installed-dev* >/dev/null 2>&1 || $(PIP) uninstall --quiet --yes pip
export PIP_REQUIRE_VIRTUALENV := 1

.DEFAULT_GOAL := help
.PHONY: help venv extras dev run test quick coverage check bench fuzz mutants soak attack dist site licences lock proto clean distclean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

venv: $(COMPILED)  ## prepare .venv with what is needed to run
extras: $(EXTRA_STAMP) $(COMPILED)  ## prepare .venv with what a ledger in PostgreSQL, a store in Valkey, notices by Apprise and YARA rules need
dev: $(DEV_STAMP) $(COMPILED)  ## prepare .venv with what is needed to test and to build

$(BIN)/python:
	@python="$$(scripts/find-python)" || exit 1; \
	echo "preparing $(VENV) with $$python"; \
	"$$python" -m venv --without-pip $(VENV)

$(RUN_STAMP): | $(BIN)/python
	@echo "installing what Second Look needs (once; a minute or two)"
	@$(PIP_COMES)
	@$(PIP_INSTALL) --require-hashes -r requirements.txt
	@$(PIP_INSTALL) --no-build-isolation -e .
	@$(PIP_GOES)
	@rm -f $(VENV)/.installed-run*
	@touch $@

$(EXTRA_STAMP): $(RUN_STAMP)
	@echo "installing what the extras need"
	@$(PIP_COMES)
	@$(PIP_INSTALL) --require-hashes -r requirements-extra.txt
	@$(PIP_GOES)
	@rm -f $(VENV)/.installed-extra*
	@touch $@

$(COMPILED): $(SOURCES) scripts/compile $(RUN_STAMP)  # what changed since, such as after a `git pull`
	@$(BIN)/python scripts/compile
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@echo "installing what the tests need"
	@$(PIP_COMES)
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.txt
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -qq -j 0 --invalidation-mode timestamp $(VENV)/lib || true
	@rm -f $(VENV)/.installed-dev*
	@touch $@

run: $(COMPILED)  ## start the proxy with proxy.yaml; ARGS='…' goes to `secondlook run`
	@exec $(BIN)/secondlook run $(ARGS)

test: $(DEV_STAMP) $(COMPILED)  ## run the whole test suite; ARGS='…' goes to pytest
	$(PYTEST) $(if $(ARGS),$(ARGS),$(TEST_ARGS))

quick: $(DEV_STAMP) $(COMPILED)  ## run what starts no processes, browsers or databases, nor unpacks bombs (90 s; 170 on a slow machine)
	$(PYTEST) --quick -n auto tests $(ARGS)

coverage: $(DEV_STAMP) $(COMPILED)  ## run the whole test suite and show which lines and branches it reached
	$(PYTEST) $(TEST_ARGS) --cov --cov-report=term --cov-report=xml:coverage.xml $(ARGS)

check: $(DEV_STAMP)  ## format, lint, types, import contract, declared dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) tests/test_contracts.py
	$(BIN)/deptry addon

bench: $(DEV_STAMP) $(COMPILED)  ## run the benchmarks and write docs/benchmarks.md; ARGS='…' names some of them
	$(BIN)/python bench/run.py $(ARGS)

fuzz: $(DEV_STAMP) $(COMPILED)  ## give each fuzz target ten seconds; FUZZ_S=600 for longer, ARGS='…' goes to pytest
	SECONDLOOK_FUZZ_S=$(FUZZ_S) $(BIN)/python -m pytest tests/fuzz -m fuzz -n auto --timeout 0 $(ARGS)

mutants: $(DEV_STAMP) $(COMPILED)  ## take each defence away in a copy and see its test fail; ARGS='…' chooses by words
	$(BIN)/python scripts/mutants $(ARGS)

soak: $(DEV_STAMP) $(COMPILED)  ## run the long tests, then a million requests of everything at once (an hour or more)
	SECONDLOOK_SOAK=1 $(BIN)/python -m pytest -m soak --timeout 7200 $(ARGS)
	PYTHONPATH=tests $(BIN)/python bench/soak.py

attack: $(DEV_STAMP) $(COMPILED)  ## do what hostile sites and clients do, on loopback (5 minutes), and report how others fared
	SECONDLOOK_ATTACK=1 $(BIN)/python -m pytest tests/attack -p no:randomly $(ARGS)

dist: $(DEV_STAMP)  ## build the wheel, the source archive and a bill of materials (CycloneDX) into dist/
	$(BIN)/python -m build --no-isolation -o dist .
	$(BIN)/python scripts/licences.py --sbom dist/secondlook.cdx.json

site: $(DEV_STAMP)  ## build the documentation as a static site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

licences: $(DEV_STAMP)  ## write docs/licences.md anew, after a change of the lock
	$(BIN)/python scripts/licences.py --write

lock: $(DEV_STAMP)  ## make the hash-locked requirement files anew
	scripts/lock $(BIN) $(ARGS)

proto: $(DEV_STAMP)  ## generate the code of the wire messages from their .proto
	$(BIN)/python -m grpc_tools.protoc -I addon --python_out=addon --pyi_out=addon addon/secondlook/wire/safebrowsing.proto

clean:  ## remove caches and build results; .venv and state stay
	rm -rf build dist site htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	find addon tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f $(COMPILED)

distclean: clean  ## remove .venv too
	rm -rf $(VENV)
