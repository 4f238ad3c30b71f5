# Two commands: `make demo` (or `make test`) on a machine that has only Python 3.11+ and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint proof bench locales clean

demo: $(STAMP)
	$(BIN)/auditkit demo lending

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not proof"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The slow checks: training at MNIST size, simulations. Figures go to benchmarks/results/.
proof: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[accounting]"
	$(BIN)/python -m benchmarks.proof

# Ours against a named peer, paired, in one process.
bench: $(STAMP)
	$(BIN)/python -m benchmarks.bench

# Not `pybabel compile`: it takes "95 % of" for a printf format and fails.
LOCALE := auditkit/reporting/locales/zh/LC_MESSAGES/auditkit
locales: $(STAMP)
	$(BIN)/python -c "from babel.messages.pofile import read_po; from babel.messages.mofile import write_mo; \
	write_mo(open('$(LOCALE).mo', 'wb'), read_po(open('$(LOCALE).po', 'rb'), locale='zh'))"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) runs checkpoints
