.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/bin/uv
export UV_PROJECT_ENVIRONMENT := $(VENV)
# Without bytecode at hand every process compiles its libraries' sources anew, which triples the time of a start.
unexport PYTHONDONTWRITEBYTECODE


.PHONY: help setup demo attack simulate bench-pair test test-long verify lint docs protos protos-check clean

help: ## This list.
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml penstock/pyproject.toml uv.lock
	@python3.11 -m venv $(VENV) 2>/dev/null || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.8"
	@$(UV) sync --frozen --quiet --inexact
	@touch $@

setup: $(VENV)/.ready ## The environment in .venv, from the lock file.

demo: setup ## Start a node, load it, verify the result, print a summary; writes build/demo.json.
	@mkdir -p build
	@$(BIN)/penstock demo --out build/demo.json $(DEMO_OPTIONS)

attack: setup ## MINUTES=60 of every known attack on a node, beside one honest client that must come to no harm.
	@$(BIN)/penstock attack --minutes $(or $(MINUTES),5) $(ATTACK_OPTIONS)

simulate: setup ## SCHEDULES=10000 of whole clusters under faults in virtual time, from SEED on; writes build/simulation.json.
	@mkdir -p build
	@$(BIN)/penstock simulate --schedules $(or $(SCHEDULES),10000) --seed $(or $(SEED),1) --json $(SIMULATE_OPTIONS) > build/simulation.json

# The options of `penstock bench pair` by their names: PAIRS, METRIC, FLOOR, SECONDS, HEAD, COMMAND, OUT.
_PAIR_OPTIONS = $(foreach option,BASE HEAD PAIRS METRIC FLOOR SECONDS COMMAND OUT,$(if $($(option)),--$(shell echo $(option) | tr A-Z a-z) '$($(option))'))

bench-pair: setup ## Ratios of the working tree to BASE=commit, in 20 interleaved pairs of runs; writes build/bench-pair.json.
	@$(BIN)/penstock bench pair $(_PAIR_OPTIONS) $(PAIR_OPTIONS)

test: lint protos-check ## Everything that must hold, in ten minutes at most; what fails fast comes first.
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/python -m services.runtime.warmup
	@$(BIN)/coverage run -m pytest -n 2 --dist loadfile -m "not alone and not slow and not hours"
	@$(BIN)/pytest -m "alone and not slow and not hours"
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --sort=cover > build/coverage/report.txt; code=$$?; \
	    head -14 build/coverage/report.txt; grep -E '^TOTAL|^Coverage' build/coverage/report.txt; exit $$code

test-long: setup ## What takes longer: with make test an hour at most.
	@$(BIN)/pytest -rs -m "slow and not hours"

verify: setup ## Everything, whatever it takes.
	@$(BIN)/pytest -rs

lint: setup ## Style, types, the direction of imports.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

docs: setup ## Regenerate the lists of reasons in docs/operations.md and in the protos, then the stubs.
	@$(BIN)/python -m services.rpc.reasons_reference
	@$(MAKE) --no-print-directory protos

protos: setup ## Regenerate the stubs under penstock/v1.
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I protos --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. protos/penstock/v1/*.proto

protos-check: protos ## Fail where the committed stubs differ from the protos.
	@cd protos && ../$(BIN)/buf lint
	@git diff --exit-code --stat -- penstock/v1 && test -z "$$(git ls-files --others --exclude-standard penstock/v1)"

clean: ## Remove what was built.
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
