.DEFAULT_GOAL := help
.PHONY: help setup demo smoke pictures image image-check test bench storm scenarios lint

# uv is the one tool that has to be there; pip brings it where it is missing.
UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.venv-uv/bin/uv:
	python3 -m venv .venv-uv && .venv-uv/bin/pip install -q uv

# Bytecode is made once: operators, hubs and commands start twice as quickly.
setup: $(if $(findstring .venv-uv,$(UV)),.venv-uv/bin/uv) ## Install everything into .venv
	$(UV) sync --locked --all-extras --all-packages -q --compile-bytecode
	@$(UV) run --no-sync python -m compileall -q operator hub_hook tests

demo: setup ## Try it all on this machine: hub, operator, kube-apiserver (the first build takes minutes)
	$(UV) run python -m tests.testbed.demo

smoke: setup ## The demo without a person: a timeline, non-zero where a step fails
	$(UV) run python -m tests.testbed.smoke

pictures: setup ## Make docs/img anew: what users see, in a real Chromium (CHROMIUM names another than chromium)
	$(UV) run python -m tests.testbed.pictures

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# IMAGE_FLAGS: such as --network=host, or --build-arg PYTHON_IMAGE=another.
image: ## Build the image hubquota:VERSION (needs Docker; CONTRIBUTING.md says how without a registry)
	docker build $(IMAGE_FLAGS) --build-arg VERSION=$(VERSION) -t hubquota:$(VERSION) .

image-check: setup ## Run that image as the Deployment of the manifests says, against a real kube-apiserver
	$(UV) run python -m tests.testbed.image

scenarios: setup ## Write docs/scenarios.md anew from the table of scenarios
	$(UV) run python -m tests.scenarios.listing

lint: setup ## Check style, types and layers
	$(UV) run ruff check . && $(UV) run ruff format --check .
	$(UV) run mypy operator hub_hook tests
	$(UV) run lint-imports
	$(UV) run hadolint Dockerfile

test: setup ## Run all tests
	$(UV) run pytest -n auto --dist worksteal

bench: setup ## Measure, and prove against generated truth (BENCH names some of: accuracy retries scale starting operating handing-over outage watching backfill hook)
	$(UV) run python -m tests.bench $(BENCH)

storm: setup ## Kill every part with -9 a thousand times under 10,000 pods, and compare (STORM: --kills, --pods, --seed, ...)
	$(UV) run python -m tests.storm $(STORM)
