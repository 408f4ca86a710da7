# Two commands for a newcomer: `make demo` and `make test`. Each installs first where needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# One thread per test process: two processes on two cores with two threads each run many times slower.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

.PHONY: install check format test test-engines test-cluster chromium gym demo example-report clean
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

# reasoning-gym, whose tests are skipped without it: a part of what it pulls in is compiled when it is installed.
gym: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[gym]'

test: install
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist worksteal

# Against real servers on the CPU, started and stopped by the tests: vLLM (an environment of its own), llama.cpp (another,
# from PyPI), and the same small instruction model for both, as a folder and as a GGUF file. What is not there is made by
# the scripts in TOOLS (5 GB in all); elsewhere name what there is: make test-engines ENGINES_VLLM=VENV ENGINES_MODEL=DIR ...
TOOLS ?= ../shared/tools
ENGINES_VLLM ?= $(HOME)/.cache/isoflop-vllm
ENGINES_MODEL ?= $(HOME)/.cache/isoflop-models/qwen2.5-coder-0.5b-instruct
ENGINES_GGUF ?= $(HOME)/.cache/isoflop-models/qwen2.5-coder-0.5b-instruct-q4.gguf
ENGINES_LLAMA ?= .venv-llama
ENGINES := ENGINES_VLLM=$(ENGINES_VLLM) ENGINES_MODEL=$(ENGINES_MODEL) ENGINES_GGUF=$(ENGINES_GGUF) ENGINES_LLAMA=$(ENGINES_LLAMA)
test-engines: install
	test -x $(ENGINES_VLLM)/bin/vllm || bash $(TOOLS)/vllm_cpu.sh $(ENGINES_VLLM)
	test -x $(ENGINES_LLAMA)/bin/python || $(PYTHON) -m venv $(ENGINES_LLAMA)
	$(ENGINES_LLAMA)/bin/python -m pip install --quiet xllamacpp
	test -f $(ENGINES_GGUF) || { mkdir -p $(dir $(ENGINES_GGUF)) && $(BIN)/python $(TOOLS)/real_model.py --gguf $(ENGINES_GGUF); }
	test -f $(ENGINES_MODEL)/config.json || \
		{ $(BIN)/python -m pip install --quiet gguf && $(BIN)/python $(TOOLS)/real_model.py $(ENGINES_MODEL); }
	$(ONE_THREAD) $(ENGINES) $(BIN)/python -m pytest -m engines tests/engines tests/rewards

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

# The report in results/example and its picture, from the demo's study.
example-report: install
	$(BIN)/python dev/example_report.py

clean:
	rm -rf $(VENV) .venv-llama .mypy_cache .ruff_cache .pytest_cache
