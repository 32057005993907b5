# Two commands matter: `make run` starts the service, `make test` proves it (`make quick` a part of it, in a minute).
# They need Python 3.11+, git and make alone.
.DEFAULT_GOAL := help

# The first of these that runs and is new enough; `make run PYTHON=...` picks another.
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

bin := .venv/bin
pip := $(bin)/python -m pip --disable-pip-version-check --quiet --retries 5
locked := $(pip) install --require-hashes --requirement

.PHONY: help
help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/.project ## start the service on port 5000 with the demonstration model; ARGS="--port 8000"
	@mkdir -p .housepredict # what is estimated and trained here stays in this folder
	$(bin)/housepredict serve --demo $(ARGS)

.PHONY: test
test: check ## check everything, test everything, report coverage
	@mkdir -p build && rm -f build/pytest.xml
	$(bin)/coverage erase
	@# Two processes: many tests wait for others most of the time. A file stays in one of them.
	$(bin)/coverage run -m pytest --numprocesses=2 --dist=loadfile --junitxml=build/pytest.xml $(ARGS)
	@# An integration test that was skipped has proved nothing: no server for it counts as a failure. What takes root
	@# is left to who is root.
	@awk 'BEGIN { RS = "<" } /^testcase/ { test = $$0 } \
		/^skipped/ && !/root/ && test ~ /classname="tests\.integration/ { print "skipped: " test; bad = 1 } \
		END { exit bad }' build/pytest.xml
	$(bin)/coverage combine --quiet
	$(bin)/coverage report
	$(bin)/coverage report --include='src/housepredict/domain/*' --fail-under=100

.PHONY: quick
quick: .venv/.dev .venv/.project ## test the domain, and contracts and HTTP in memory, in a minute
	$(bin)/pytest --numprocesses=auto --dist=loadfile --hypothesis-profile=quick -m "not slow" tests/unit $(ARGS)

.PHONY: check
check: .venv/.dev .venv/.project ## lint, formatting, types, the direction of imports, and the Dockerfile
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy $(wildcard src tests benchmarks campaign container)
	MYPYPATH=kubernetes/test $(bin)/mypy kubernetes
	$(bin)/lint-imports
	$(bin)/hadolint container/Dockerfile

.PHONY: format
format: .venv/.dev ## format the code and mend what ruff can mend
	$(bin)/ruff format
	$(bin)/ruff check --fix

.PHONY: build
build: .venv/.project ## make the wheel and the source distribution in dist/
	rm -rf dist
	$(bin)/hatchling build

.PHONY: secrets
secrets: $(patsubst %,container/secrets/%,administrator_password database_password token) ## make passwords and a token for container/compose.yaml

# Others than their owner may read the files, as the users in the containers must, but not come to them through the folder.
container/secrets/%:
	@mkdir -p $(@D) && chmod 700 $(@D)
	@$(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(32))' >$@.new && chmod 444 $@.new && mv $@.new $@

.PHONY: lock
lock: build/uv/bin/uv ## make requirements/*.lock again, keeping what still fits; ARGS=--upgrade for the newest
	$(compile) --all-extras --group dev --output-file requirements/dev.lock
	$(compile) --extra all --group build --constraint requirements/dev.lock --output-file requirements/service.lock
	$(compile) --extra serve --extra postgres --extra train --extra otel --constraint requirements/dev.lock --output-file requirements/image.lock
	$(compile) --extra serve --extra postgres --extra otel --constraint requirements/dev.lock --output-file requirements/serving.lock
	$(subst pyproject.toml,--group pyproject.toml:build,$(compile)) --constraint requirements/dev.lock --output-file requirements/build.lock
	$(subst pyproject.toml,--group pyproject.toml:manifests,$(compile)) --output-file requirements/manifests.lock
	$(subst pyproject.toml,--group pyproject.toml:docs,$(compile)) --output-file requirements/docs.lock
	$(compile) --extra all --group bench --constraint requirements/dev.lock --output-file requirements/bench.lock

# --universal: one lock for every platform. fewest: and one version for every Python, so that all run what was tested.
compile = build/uv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --annotation-style line --custom-compile-command "make lock" $(ARGS)

.PHONY: campaign
campaign: .venv/.dev .venv/.project ## attack the storage of estimates, two hours; ARGS=--quick, ARGS="--only kills"
	$(bin)/python -m campaign $(ARGS)

.PHONY: bench
bench: build/bench/.bench .venv/.project ## measure the service beside others, half an hour; ARGS=--quick, ARGS=--profile
	build/bench/bin/python -m benchmarks.throughput $(ARGS)

.PHONY: mutants
mutants: .venv/.dev .venv/.project ## count how many small faults in the code the tests detect, for hours; ARGS="--only domain/leaks"
	$(bin)/python -m benchmarks.mutants $(ARGS)

.PHONY: check-manifests
check-manifests: build/manifests/.manifests ## check the Kubernetes manifests: schemas and security
	build/manifests/bin/python kubernetes/check.py

.PHONY: docs
docs: build/sphinx/.sphinx ## make a site of the documentation in build/docs
	build/sphinx/bin/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet docs build/docs

.PHONY: clean
clean: ## remove what was made, and keep .housepredict, which is data
	rm -rf .venv build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# What is installed follows the locks: each stamp is as new as the lock that it stands for.
.venv/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo >&2 "housepredict needs Python 3.11 or newer, as python3.11 or python3 or with" \
		"make PYTHON=/path/to/python; python3 here is: $$(python3 --version 2>&1 || true)"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.service: requirements/service.lock .venv/pyvenv.cfg
	@echo "Installing what the service needs (the first time takes a minute)"
	@$(locked) requirements/service.lock
	@touch $@

.venv/.dev: requirements/dev.lock .venv/.service
	@echo "Installing what the tests need (the first time takes a minute)"
	@$(locked) requirements/dev.lock
	@touch $@

.venv/.project: pyproject.toml .venv/.service
	@$(pip) install --no-deps --no-build-isolation --editable .
	@touch $@

build/bench/.bench: requirements/bench.lock .venv/pyvenv.cfg
	@echo "Installing what the benchmarks compare with (the first time takes a minute)"
	@$(bin)/python -m venv build/bench
	@build/bench/bin/python -m pip --disable-pip-version-check --quiet --retries 5 \
		install --require-hashes --requirement requirements/bench.lock
	@touch $@

build/manifests/.manifests: requirements/manifests.lock .venv/pyvenv.cfg
	@echo "Installing what checks manifests (the first time takes a minute)"
	@$(bin)/python -m venv build/manifests
	@build/manifests/bin/python -m pip --disable-pip-version-check --quiet --retries 5 \
		install --require-hashes --requirement requirements/manifests.lock
	@touch $@

build/sphinx/.sphinx: requirements/docs.lock .venv/pyvenv.cfg
	@echo "Installing what makes a site of the documentation (the first time takes a minute)"
	@$(bin)/python -m venv build/sphinx
	@build/sphinx/bin/python -m pip --disable-pip-version-check --quiet --retries 5 \
		install --require-hashes --requirement requirements/docs.lock
	@touch $@

build/uv/bin/uv:
	@test -n "$(PYTHON)" || { echo >&2 "make lock needs Python 3.11 or newer"; exit 1; }
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --disable-pip-version-check --quiet --retries 5 uv
