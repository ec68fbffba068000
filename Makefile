# Everything a contributor needs; `make` alone lists it. Each target sets up what it needs in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Many tests wait for processes and servers more than they compute: four are quicker than one for each of two cores.
PROCESSES ?= 4

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

setup: $(READY) ## install the agent and what its tests need into .venv

demo: $(READY) ## run the agent against simulators for about 20 seconds
	$(BIN)/oase-agent demo

test: $(READY) format-check lint types layers ## check format, lint, types and layers, then run every quick test
	$(BIN)/pytest --numprocesses=$(PROCESSES) --dist=worksteal

test-long: $(READY) ## run what takes minutes: kills, power cuts (as root, see tests/long), random stories
	@echo 'long: 200 kills, 100 power cuts (POWER_CUTS), 10000 random stories (STORIES), queues against their model, 100 disturbances of replicas for each engine (DISTURBANCES)'
	$(BIN)/pytest -m long --durations=0 --durations-min=1

format: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

format-check: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports --no-cache

docs: $(READY) ## write the generated documents
	$(BIN)/python -m oase_agent.config.reference > docs/configuration.md
	$(BIN)/python -m oase_agent.config.source_options.schema > docs/source-options.schema.json
	$(BIN)/python -m tests.chart.readme_table

bench: $(READY) ## run every benchmark once (several minutes)
	$(BIN)/python -m benchmarks

IMAGE ?= docker.io/exastro/oase-agent:0.1.0

image: ## build the container image (IMAGE=name:tag, BUILD_ARGS='--build-arg …')
	docker build --file docker/Dockerfile --tag $(IMAGE) $(BUILD_ARGS) .

sbom: ## write what the image holds to dist/sbom.cdx.json, in CycloneDX
	@mkdir -p dist
	docker run --rm --interactive --entrypoint python $(IMAGE) - < docker/sbom.py > dist/sbom.cdx.json

test-docker: $(READY) ## build the image and test it in a Docker engine, its own one as root
	$(BIN)/pytest -m docker tests/docker -rs --durations=5

test-cluster: $(READY) ## tell the story of replicas on the cluster of KUBECONFIG (IMAGE=…, STORAGE_CLASS=…)
	$(BIN)/pytest -m cluster tests/cluster -rs

clean: ## remove what the targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help setup demo test test-long test-docker test-cluster image sbom format format-check lint types layers docs bench clean
