# Every target sets up what it needs: on a machine with Python 3.11, 3.12 or 3.13 and make, `make demo` and `make test` are enough.
# `make` or `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The first interpreter that starts and is new enough: `python3` alone may be any version. PYTHON=python3.13 names one.
PYTHON ?=
FIND_PYTHON = for name in $(or $(PYTHON),python3.11 python3.12 python3.13 python3); do \
	if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	$$name -c 'import sys; print(sys.executable)'; break; fi; done
BIN := .venv/bin
STAMP := .venv/.ready
ARGS ?=

# A .venv stays of the version that it was made with, so another PYTHON than that would be taken for tested and is not.
VERSION = $(shell $(1) -c 'import sys; print(sys.version.split()[0])' 2>/dev/null)
ifneq ($(and $(PYTHON),$(wildcard $(BIN)/python),$(if $(filter clean help,$(MAKECMDGOALS)),,no)),)
ifneq ($(call VERSION,$(PYTHON)),$(call VERSION,$(BIN)/python))
$(error .venv has Python $(call VERSION,$(BIN)/python), $(PYTHON) is $(or $(call VERSION,$(PYTHON)),none that starts). \
Run `make clean`, which removes .venv, and try again)
endif
endif

.PHONY: help
help:  ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set up -----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(STAMP)  ## Make the environment .venv from the lock file; the second time this takes no time

$(STAMP): requirements/all.txt pyproject.toml
	@python="$$($(FIND_PYTHON))"; \
	if [ -z "$$python" ]; then \
	echo "insession needs Python 3.11, 3.12 or 3.13; $(or $(PYTHON),no python3.11 to python3.13 on PATH) is none that starts." >&2; \
	exit 1; fi; \
	uv="$$(.ci/find-uv "$$python")"; \
	echo "Setting up .venv with $$python and $$uv; the first time this loads more than a gigabyte."; \
	[ -x $(BIN)/python ] || "$$uv" venv --quiet --no-python-downloads --python "$$python" .venv; \
	"$$uv" pip sync --quiet --python $(BIN)/python --require-hashes requirements/all.txt; \
	"$$uv" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# --- run --------------------------------------------------------------------------------------------------------------

.PHONY: demo pipeline-demo kafka
demo: $(STAMP)  ## Show the whole way from click to recommendation; options in ARGS="..."
	@$(BIN)/insession demo $(ARGS)

pipeline-demo: $(STAMP)  ## Show the daily loop with Kafka, S3, Spark and MLflow on this machine (Java 17 and Maven); takes minutes
	@$(BIN)/python -m bench.pipeline_demo $(ARGS)

kafka: $(STAMP)  ## Run one node of Apache Kafka on a free port (Java 17 and Maven); Ctrl-C stops it
	@exec $(BIN)/python -m streams.local.kafka_node $(ARGS)

# --- check ------------------------------------------------------------------------------------------------------------

.PHONY: check lint types contracts test test-pipeline wheel
check: lint types contracts  ## All that can be said without running: lint, types and contracts

lint: $(STAMP)  ## Lint and check the format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)  ## Check the types, strictly
	$(BIN)/mypy

contracts: $(STAMP)  ## Check which package may import which
	$(BIN)/lint-imports

PROCESSES ?= 4
test: $(STAMP)  ## Run the tests but chaos and pipeline, in PROCESSES; what needs Kafka runs where Java 17 and Maven are; options in ARGS="..."
	$(BIN)/python -m pytest -m "not chaos and not pipeline" -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

test-pipeline: $(STAMP)  ## Run the tests of jobs on a real Spark, of training on several workers and of a registry server
	$(BIN)/python -m pytest -m pipeline -n 2 --dist loadfile $(ARGS)

wheel: $(STAMP)  ## Install a bare worker as the image does, in a fresh environment without TensorFlow
	.ci/try-wheel

.PHONY: audit sbom pin-images
audit: $(STAMP)  ## Ask for known vulnerabilities of all dependencies (OSV); says so where it cannot be asked
	$(BIN)/python .ci/audit.py requirements/all.txt $(ARGS)

sbom: $(STAMP)  ## List what is in the images as CycloneDX: build/sbom-worker.json, -trainer, -pipeline
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements requirements/worker.txt $(SBOM) build/sbom-worker.json
	$(BIN)/cyclonedx-py requirements requirements/model.txt $(SBOM) build/sbom-trainer.json
	$(BIN)/cyclonedx-py requirements requirements/pipeline.txt $(SBOM) build/sbom-pipeline.json

pin-images:  ## Pin the images in compose/ by digest, as the registries give them today; needs docker
	$$($(FIND_PYTHON)) .ci/pin_images.py compose/compose.yaml compose/Dockerfile

SBOM = --pyproject pyproject.toml --mc-type application --output-reproducible --validate --output-format JSON --output-file

# --- measure ----------------------------------------------------------------------------------------------------------

.PHONY: bench bench-guard pipeline-bench results simulate-delivery
DATA ?= ../shared/data
results: $(STAMP)  ## Train and evaluate on the public research data in DATA=folder and print the results table; takes an hour
	$(BIN)/python -m bench.results $(DATA) $(ARGS)

bench: $(STAMP)  ## Measure events per second against bare Faust and raw aiokafka; options in ARGS="..."
	$(BIN)/python -m bench $(ARGS)

bench-guard: $(STAMP)  ## Run one short round of make bench and fail where its ratios are out of bounds
	mkdir -p build
	$(BIN)/python -m bench --short --rounds 1 --json build/bench.json
	$(BIN)/python -m bench.guard build/bench.json

pipeline-bench: $(STAMP)  ## Measure the jobs from clickstream to release, and what a shop of a size takes by that; options in ARGS="..."
	$(BIN)/python -m bench.pipeline $(ARGS)

SEEDS ?= 10000
simulate-delivery: $(STAMP)  ## Run the delivery on a simulated Kafka, clock and network from SEEDS=10000 seeds, and its mutants
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)
	$(BIN)/python -m tests.simulation --mutants

# --- bad days ---------------------------------------------------------------------------------------------------------

.PHONY: chaos chaos-all chaos-table soak
CHAOS = $(BIN)/python -m pytest tests/chaos --chaos-table build/chaos.json
chaos: $(STAMP)  ## Break what workers stand on, under load, two faults at a time, and count every event into build/chaos.json
	$(CHAOS) -m "chaos and not long and not soak" -n 2 $(ARGS)

chaos-all: $(STAMP)  ## The same with the faults that take longer; takes an hour
	$(CHAOS) -m "chaos and not soak" -n 2 $(ARGS)

chaos-table: $(STAMP)  ## Write the rows of build/chaos.json into docs/operations.md
	$(BIN)/python -m tests.chaos.table build/chaos.json docs/operations.md

soak: $(STAMP)  ## A steady load for INSESSION_SOAK_MINUTES (30): memory, files, lag and p99 do not creep
	$(CHAOS) -s -m soak $(ARGS)

# --- generated files --------------------------------------------------------------------------------------------------

.PHONY: lock protos schemas settings dashboards pictures
COMPILE = "$$uv" pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-header --upgrade
BUILD_SYSTEM = $$($(FIND_PYTHON)) -c \
	'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'
LOCKED = --constraint requirements/all.txt --output-file

lock:  ## Resolve the dependencies anew into requirements/
	@uv="$$(.ci/find-uv "$$($(FIND_PYTHON))")"; \
	$(COMPILE) pyproject.toml --all-extras --output-file requirements/all.txt; \
	$(COMPILE) pyproject.toml $(LOCKED) requirements/worker.txt; \
	$(COMPILE) pyproject.toml --extra bus --extra model $(LOCKED) requirements/model.txt; \
	$(COMPILE) pyproject.toml --extra pipeline $(LOCKED) requirements/pipeline.txt; \
	$(BUILD_SYSTEM) | $(COMPILE) - $(LOCKED) requirements/build.txt; \
	echo uv | $(COMPILE) - --output-file requirements/uv.txt

protos: $(STAMP)  ## Generate the gRPC messages from serving/protos
	$(BIN)/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. serving/protos/*.proto

schemas: $(STAMP)  ## Generate the published schemas into schemas/json and schemas/avro, and docs/asyncapi.json
	$(BIN)/python -m schemas.json_schema
	$(BIN)/python -m schemas.avro_schema
	$(BIN)/python -m agents.contracts.asyncapi

settings: $(STAMP)  ## Generate the reference of all settings, docs/settings.md
	$(BIN)/insession config reference > docs/settings.md

dashboards: $(STAMP)  ## Generate the Grafana dashboards and the rules of the objectives
	$(BIN)/python -m compose.grafana.build
	$(BIN)/python -m compose.prometheus.slos

pictures: $(STAMP)  ## Run worker and Prometheus under load and draw the dashboards and the live page into docs/pictures; takes minutes
	$(BIN)/python -m tests.compose.pictures
	$(BIN)/python -m tests.agents.live.pictures

# --- clean ------------------------------------------------------------------------------------------------------------

.PHONY: clean
clean:  ## Remove the environment, the caches and what was built; models and data stay
	rm -rf .venv .uv .kafka build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
