# The main targets: `make run` starts the service, `make test` runs all checks and tests, `make quick` the fast tests.
# They require only Python 3.11+, git and make.
.DEFAULT_GOAL := help

# The first of these that is new enough; override it with `make run PYTHON=...`.
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

bin := .venv/bin
pip := $(bin)/python -m pip --disable-pip-version-check --quiet --retries 5
locked := $(pip) install --require-hashes --requirement

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/.project ## start the service on http://127.0.0.1:5000 with a demo model; ARGS="--port 8000"
	@mkdir -p .housepredict # keeps predictions and models in this checkout
	$(bin)/housepredict serve --demo $(ARGS)

.PHONY: test
test: check ## run all checks and tests, and report coverage
	@mkdir -p build && rm -f build/pytest.xml
	$(bin)/coverage erase
	@# Many tests mostly wait, so two processes help. A file's tests stay in one process.
	$(bin)/coverage run -m pytest --numprocesses=2 --dist=loadfile --junitxml=build/pytest.xml $(ARGS)
	@# A skipped integration test, such as one without its server, counts as a failure, unless it needs root.
	@awk 'BEGIN { RS = "<" } /^testcase/ { test = $$0 } \
		/^skipped/ && !/root/ && test ~ /classname="tests\.integration/ { print "skipped: " test; bad = 1 } \
		END { exit bad }' build/pytest.xml
	$(bin)/coverage combine --quiet
	$(bin)/coverage report
	$(bin)/coverage report --include='src/housepredict/domain/*' --fail-under=100

.PHONY: quick
quick: .venv/.dev .venv/.project ## run the fast unit tests, in about a minute
	$(bin)/pytest --numprocesses=auto --dist=loadfile --hypothesis-profile=quick -m "not slow" tests/unit $(ARGS)

.PHONY: check
check: .venv/.dev .venv/.project ## check style, formatting, types, import rules and the Dockerfile
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy $(wildcard src tests benchmarks campaign container)
	MYPYPATH=kubernetes/test $(bin)/mypy kubernetes
	$(bin)/lint-imports
	$(bin)/hadolint container/Dockerfile

.PHONY: format
format: .venv/.dev ## format the code, and apply ruff's automatic fixes
	$(bin)/ruff format
	$(bin)/ruff check --fix

.PHONY: build
build: .venv/.project ## build the wheel and the source distribution in dist/
	rm -rf dist
	$(bin)/hatchling build

.PHONY: secrets
secrets: $(patsubst %,container/secrets/%,administrator_password database_password token) ## create random passwords and a token for container/compose.yaml

# The users in the containers must be able to read the files; the mode of the folder protects them from other users.
container/secrets/%:
	@mkdir -p $(@D) && chmod 700 $(@D)
	@$(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(32))' >$@.new && chmod 444 $@.new && mv $@.new $@

.PHONY: lock
lock: build/uv/bin/uv ## update requirements/*.lock after a change of dependencies; ARGS=--upgrade for the newest
	$(compile) --all-extras --group dev --output-file requirements/dev.lock
	$(compile) --extra all --group build --constraint requirements/dev.lock --output-file requirements/service.lock
	$(compile) --extra serve --extra postgres --extra train --extra otel --constraint requirements/dev.lock --output-file requirements/image.lock
	$(compile) --extra serve --extra postgres --extra otel --constraint requirements/dev.lock --output-file requirements/serving.lock
	$(subst pyproject.toml,--group pyproject.toml:build,$(compile)) --constraint requirements/dev.lock --output-file requirements/build.lock
	$(subst pyproject.toml,--group pyproject.toml:manifests,$(compile)) --output-file requirements/manifests.lock
	$(subst pyproject.toml,--group pyproject.toml:docs,$(compile)) --output-file requirements/docs.lock
	$(compile) --extra all --group bench --constraint requirements/dev.lock --output-file requirements/bench.lock

# --universal: one lock for all platforms. fewest: one version for all Pythons, so that all run what was tested.
compile = build/uv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --annotation-style line --custom-compile-command "make lock" $(ARGS)

.PHONY: campaign
campaign: .venv/.dev .venv/.project ## attack the storage with faults, two hours; ARGS=--quick, ARGS="--only kills"
	$(bin)/python -m campaign $(ARGS)

.PHONY: bench
bench: build/bench/.bench .venv/.project ## benchmark against other services, half an hour; ARGS=--quick, ARGS=--profile
	build/bench/bin/python -m benchmarks.throughput $(ARGS)

.PHONY: mutants
mutants: .venv/.dev .venv/.project ## run mutation tests, for hours; ARGS="--only domain/leaks"
	$(bin)/python -m benchmarks.mutants $(ARGS)

.PHONY: check-manifests
check-manifests: build/manifests/.manifests ## check the schemas and security of the Kubernetes manifests
	build/manifests/bin/python kubernetes/check.py

.PHONY: docs
docs: build/sphinx/.sphinx ## build the documentation site in build/docs
	build/sphinx/bin/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet docs build/docs

.PHONY: clean
clean: ## delete environments, builds and caches, but not .housepredict (your data)
	rm -rf .venv build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# Each environment has a stamp file; if its lock is newer, the environment is updated.
.venv/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo >&2 "housepredict needs Python 3.11 or newer, as python3.11 or python3, or with" \
		"make PYTHON=/path/to/python. Found: $$(python3 --version 2>&1 || true)"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.service: requirements/service.lock .venv/pyvenv.cfg
	@echo "Installing the dependencies of the service (takes a minute the first time)"
	@$(locked) requirements/service.lock
	@touch $@

.venv/.dev: requirements/dev.lock .venv/.service
	@echo "Installing the development tools (takes a minute the first time)"
	@$(locked) requirements/dev.lock
	@touch $@

.venv/.project: pyproject.toml .venv/.service
	@$(pip) install --no-deps --no-build-isolation --editable .
	@touch $@

build/bench/.bench: requirements/bench.lock .venv/pyvenv.cfg
	@echo "Installing the benchmark environment (takes a minute the first time)"
	@$(bin)/python -m venv build/bench
	@build/bench/bin/python -m pip --disable-pip-version-check --quiet --retries 5 \
		install --require-hashes --requirement requirements/bench.lock
	@touch $@

build/manifests/.manifests: requirements/manifests.lock .venv/pyvenv.cfg
	@echo "Installing the manifest checkers (takes a minute the first time)"
	@$(bin)/python -m venv build/manifests
	@build/manifests/bin/python -m pip --disable-pip-version-check --quiet --retries 5 \
		install --require-hashes --requirement requirements/manifests.lock
	@touch $@

build/sphinx/.sphinx: requirements/docs.lock .venv/pyvenv.cfg
	@echo "Installing the documentation tools (takes a minute the first time)"
	@$(bin)/python -m venv build/sphinx
	@build/sphinx/bin/python -m pip --disable-pip-version-check --quiet --retries 5 \
		install --require-hashes --requirement requirements/docs.lock
	@touch $@

build/uv/bin/uv:
	@test -n "$(PYTHON)" || { echo >&2 "make lock needs Python 3.11 or newer"; exit 1; }
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --disable-pip-version-check --quiet --retries 5 uv
