# Two commands: `make demo` (or `make test`) on a machine that has only Python 3.11+ and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint proof bench locales clean

demo: $(STAMP)
	$(BIN)/auditkit demo lending

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not proof"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The slow checks: training at MNIST size, simulations. Figures go to benchmarks/results/.
proof: $(STAMP)
	$(BIN)/python -m benchmarks.proof

# Ours against a named peer, paired, in one process.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.bench

locales: $(STAMP)
	$(BIN)/pybabel compile -d auditkit/reporting/locales -D auditkit

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) runs checkpoints
