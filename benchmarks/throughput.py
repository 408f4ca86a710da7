"""Tokens per second of the local engine, transformers' `generate` and a vLLM server, on the same prompts.

Every sequence has its own prompt; all sample at temperature 1, return the log-probability of each chosen token and
ignore the end of sequence, so that all make exactly as many tokens. vLLM is asked over HTTP, at its best of eager and
compiled and of several thread bindings (a short probe chooses). Runs are interleaved and the server sleeps while the
others run; medians, ratios and the fraction of the roofline are printed, prompts' prefill included in all times.

    python benchmarks/throughput.py [MODEL] [--vllm VENV] [--live 1 16 64] [--repeats 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.shape import load_shape
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.engines.local_engine import LocalEngine
from isoflop.runtime.loading import load_model
from isoflop.studies.hardware import describe_hardware
from roofline import measure_machine
from vllm_server import Server

MODEL = Path.home() / ".cache" / "isoflop-models" / "qwen2.5-coder-0.5b-instruct"
PROBLEMS = Path(__file__).parents[1] / "recipes" / "demo-problems.jsonl"
Generate = Callable[[Sequence[Sequence[int]]], float]


def main() -> None:
    """Measure, then print one line per number of live sequences and program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(MODEL))
    parser.add_argument("--vllm", type=Path, help="virtual environment that holds vLLM")
    parser.add_argument("--bindings", nargs="+", default=["auto", "nobind"], help="thread bindings that vLLM tries")
    parser.add_argument("--live", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-generate", action="store_true", help="leave `generate` out")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    machine = measure_machine(torch.bfloat16)
    print(f"{describe_hardware()}; torch {torch.__version__}, {given.threads} threads; {machine}")
    most = max(given.live)
    engine = open_engine(given, most)
    programs: dict[str, Generate] = {"local": lambda prompts: run_local(engine, prompts, given.new_tokens)}
    if not given.no_generate:
        model = load_model(given.model, dtype="bfloat16", device="cpu")
        programs["generate"] = lambda prompts: run_generate(model, prompts, given.new_tokens)
    with ExitStack() as stack:
        if given.vllm:
            server = stack.enter_context(best_server(given, lambda salt: prompts_of(engine, given, most, salt)))
            server.sleep()
            programs[server.name] = lambda prompts: run_server(server, prompts, given.new_tokens)
        for live in given.live:
            compare(programs, machine, engine, given, live)


def compare(programs: dict[str, Generate], machine: Any, engine: LocalEngine, given: Any, live: int) -> None:
    """Interleaved runs of all programs at one number of live sequences."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for repeat in range(given.repeats + 1):
        for name, generate in programs.items():
            took = generate(prompts_of(engine, given, live, repeat))
            if repeat:  # the first round warms up
                seconds[name].append(took)
    pricer = Pricer(load_shape(given.model).in_dtype("bfloat16"))
    roof = machine.tokens_per_second(pricer, live, given.prompt_tokens + given.new_tokens // 2)
    rates = {name: live * given.new_tokens / statistics.median(times) for name, times in seconds.items()}
    for name, rate in rates.items():
        spread = " ".join(f"{live * given.new_tokens / took:.1f}" for took in sorted(seconds[name], reverse=True))
        print(
            f"live {live:3d}  {name:28s} {rate:8.1f} tokens/s  local is {rates['local'] / rate:5.2f} times that  "
            f"{rate / roof:4.0%} of the roofline ({roof:.0f})  runs: {spread}",
            flush=True,
        )


def prompts_of(engine: LocalEngine, given: Any, live: int, salt: int) -> list[tuple[int, ...]]:
    """Word problems cut to so many tokens; other ones for every sequence and repeat, so that no cache helps."""
    tokens = engine.encode(PROBLEMS.read_text() * 20)
    starts = [(salt * 7919 + number * 131) % (len(tokens) - given.prompt_tokens) for number in range(live)]
    return [tokens[start : start + given.prompt_tokens] for start in starts]


def open_engine(given: Any, live: int) -> LocalEngine:
    """The local engine, told of no end-of-sequence token."""
    context = given.prompt_tokens + given.new_tokens
    spec = Local(given.model, dtype="bfloat16", device="cpu", context_tokens=context, max_live=live)
    engine = spec.open()
    engine.tokens.end_tokens = frozenset()
    return engine


def run_local(engine: LocalEngine, prompts: Sequence[Sequence[int]], new_tokens: int) -> float:
    """Seconds for all prompts, each a search of its own."""
    began = time.perf_counter()
    requests = []
    for number, tokens in enumerate(prompts):
        prompt = Prompt(markers=Markers(step_end=()))
        origin = Origin(Problem(str(number), ""), prompt, "", tuple(tokens), 0, f"search {number}")
        root = Trajectory.at(origin)
        requests.append(GenerationRequest(number, root, number, 1.0, max_tokens=new_tokens, until=Until.END))
    engine.submit(requests)
    made = [0] * len(prompts)
    while not all(made):
        for done in engine.poll():
            made[done.id] = sum(len(step.logprobs) for step in done.steps)
    seconds = time.perf_counter() - began
    assert made == [new_tokens] * len(prompts)
    for number in range(len(prompts)):
        engine.release(f"search {number}")
    return seconds


class LogProbabilities(LogitsProcessor):  # type: ignore[misc]
    """Log-probabilities of the chosen tokens, taken one step later, without keeping all logits."""

    def __init__(self) -> None:
        self.found: list[torch.Tensor] = []
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._last is not None:
            logits, totals = self._last
            self.found.append(logits.gather(1, input_ids[:, -1:])[:, 0] - totals)
        self._last = (scores, scores.logsumexp(-1))
        return scores


def run_generate(model: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> float:
    """Seconds for one `generate` over all prompts."""
    began = time.perf_counter()
    ids = torch.tensor([list(prompt) for prompt in prompts])
    model.generation_config.eos_token_id = None
    config = GenerationConfig(
        max_new_tokens=new_tokens, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0
    )
    watch = LogitsProcessorList([LogProbabilities()])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config, logits_processor=watch)
    assert made.shape[1] == ids.shape[1] + new_tokens
    return time.perf_counter() - began


def run_server(server: Server, prompts: Sequence[Sequence[int]], new_tokens: int) -> float:
    """Seconds for all prompts; the server is awake only meanwhile."""
    server.wake()
    seconds = server.generate(prompts, new_tokens)
    server.sleep()
    return seconds


def best_server(given: Any, prompts: Callable[[int], list[tuple[int, ...]]]) -> Server:
    """The fastest of vLLM's configurations, by a short probe at the most live sequences; started anew."""
    rates: dict[tuple[bool, str], float] = {}
    for eager in (True, False):
        for binding in given.bindings:
            with Server(given.vllm, given.model, eager=eager, binding=binding, live=max(given.live)) as server:
                server.generate(prompts(0), 8)
                rates[eager, binding] = max(given.live) * 32 / server.generate(prompts(1), 32)
                print(f"{server.name}: {rates[eager, binding]:.1f} tokens/s in a probe of 32 tokens", flush=True)
    eager, binding = max(rates, key=lambda choice: rates[choice])
    return Server(given.vllm, given.model, eager=eager, binding=binding, live=max(given.live))


if __name__ == "__main__":
    main()
