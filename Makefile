# Two commands for a newcomer: `make demo` and `make test`. Each installs first where needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# One thread per test process: two processes on two cores with two threads each run many times slower.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

.PHONY: install check format test test-engines test-cluster chromium demo example-report clean
install: $(READY)

# torch comes first and pinned by constraints.txt, so that no later package pulls in a several-gigabyte CUDA build.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[hub,report,serve,train,dev]'
	touch $(READY)

check: install
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix-only src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

# The page of a run is tested in a headless Chromium where one is installed; this installs Debian's, where that may be.
chromium:
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qq -y chromium >/dev/null; }

test: install
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist worksteal

# Against real servers, which it starts and stops: vLLM and llama.cpp on the CPU. It needs ENGINES_MODEL (the folder of a
# small instruction model), ENGINES_GGUF (the same as a GGUF file), ENGINES_VLLM (a virtual environment with vLLM), and
# fails where one is missing. llama.cpp comes from PyPI, into an environment of its own.
ENGINES_LLAMA ?= .venv-llama
test-engines: install
	test -x $(ENGINES_LLAMA)/bin/python || $(PYTHON) -m venv $(ENGINES_LLAMA)
	$(ENGINES_LLAMA)/bin/python -m pip install --quiet xllamacpp
	$(ONE_THREAD) ENGINES_LLAMA=$(ENGINES_LLAMA) $(BIN)/python -m pytest -m engines tests/engines tests/rewards

# On a real Ray cluster of three nodes on this machine, with a node, a worker and the driver killed in the middle.
test-cluster: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	$(ONE_THREAD) $(BIN)/python -m pytest -m cluster tests/studies

# The study's story on the models that come with the package. With MODEL=DIR_OR_HUB_ID: a small comparison on that model.
DEMO = runs/demo-$(shell printf '%s' "$(MODEL)" | cksum | cut -d' ' -f1)
demo: install
ifndef MODEL
	$(BIN)/isoflop demo
else
	$(BIN)/isoflop compare --model "$(MODEL)" --problems "jsonl(path='recipes/demo-problems.jsonl')" --out $(DEMO) \
		--reference "greedy()" --strategies "greedy()" "self_consistency(n=[2,4,8])" "weighted_vote(n=8)" "rebase(width=[2,4,8])"
	$(BIN)/isoflop figure $(DEMO)
endif

# The report in results/example and its picture, from the study there.
example-report: install
	$(BIN)/python dev/example_report.py

clean:
	rm -rf $(VENV) .venv-llama .mypy_cache .ruff_cache .pytest_cache
