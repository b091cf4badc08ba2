# `make run` and `make test` work on a fresh Debian or Ubuntu machine with git, python3, make and root.
PYTHON := .venv/bin/python
# Most of a test's time is waiting for containers: one worker more than there are cores, and at most 8.
WORKERS := $(shell cores=$$(nproc); echo $$((cores < 8 ? cores + 1 : 8)))

.PHONY: run test explore test-vm check bench bpf corpus validate-formats docs deb install uninstall setup clean

run: setup
	tests/with-engine.sh $(PYTHON) -m tests.demo

test: setup check
	tests/with-engine.sh $(PYTHON) -m pytest -q -n $(WORKERS) --dist loadfile

# The properties, by examples that no run has had yet.
explore: setup
	tests/with-engine.sh $(PYTHON) -m pytest -q -n $(WORKERS) --hypothesis-profile explore -m hypothesis

# The installed program in a virtual machine. KERNEL=6.12 for another than Debian 12's own.
test-vm: setup
	@tests/vm/setup.sh
	$(PYTHON) -m pytest -q -m vm tests/vm
	$(PYTHON) -m tests.vm $(addprefix --kernel ,$(KERNEL))

check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

corpus: setup
	tests/with-engine.sh $(PYTHON) -m tests.corpus.detect

# AUDIT_LOG: the log of an earlier `tests.corpus.detect --log`; without it the corpus runs.
validate-formats: setup
ifndef AUDIT_LOG
	tests/with-engine.sh $(PYTHON) -m tests.corpus.detect --log .venv/corpus-audit.jsonl >/dev/null
endif
	$(PYTHON) -m tests.exporters.validate $(or $(AUDIT_LOG),.venv/corpus-audit.jsonl)

bench: setup
	tests/with-engine.sh $(PYTHON) -m tests.benchmarks.launch
	$(PYTHON) -m tests.benchmarks.sensor
	tests/with-engine.sh $(PYTHON) -m tests.benchmarks.scan
	tests/with-engine.sh $(PYTHON) -m tests.benchmarks.images
	tests/with-engine.sh $(PYTHON) -m tests.benchmarks.flood
	tests/with-engine.sh $(PYTHON) -m tests.benchmarks.cost
	tests/with-engine.sh $(PYTHON) -m tests.benchmarks.response
	$(PYTHON) -m tests.benchmarks.audit
	$(PYTHON) -m tests.benchmarks.audit_kills
	$(PYTHON) -m tests.benchmarks.delivery

bpf: setup
	$(PYTHON) -m daemon.sensors.bpf

docs: setup
	$(PYTHON) -m daemon.api.reference >docs/api.md

# DESTDIR, PREFIX and INTERPRETER: see the script.
install: setup
	systemd/install.sh

uninstall:
	systemd/install.sh uninstall

deb: setup
	systemd/deb.sh

setup:
	@tests/setup.sh

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis daemon/sandbox/init/container-kit-init daemon/sensors/bpf/*.bpf.o
