"""Seconds of a thought token: cached and thinking ahead, against the twin that recomputes everything and a plain token.

One sequence, one thread, n_ahead 8, temperature 1, all in turns. The talk head gives one constant weight, set so that
the plain and the mixed distribution overlap (the mean of the sum of min(p, q)) by a wanted share: of the random model
on text that the plain model wrote, of a real one on text that thinking ahead writes. The share is measured again on the
text of the timed runs, beside the share of drafts that stayed.

Without MODEL: a random Llama of hidden size 256, 4 layers, vocabulary 2002, float32. The twin runs every position
through the whole model at every token; it is run at every length, some of the lengths in each turn. With MODEL: that
model in bfloat16, prompts from a file of questions. FLOPs of Mistral-7B's shape at 300 tokens are by formula.

Processor seconds of the process are what is compared: they are those of a clock where nothing else runs, and hold on a
machine that others use. Seconds by the clock are printed too.

    python benchmarks/thinking_speed.py [--tokens 512] [--prompt 64] [--turns 3] [--no-twin]
    python benchmarks/thinking_speed.py --model MODEL --questions gsm8k/test.jsonl [--prompts 6] [--new-tokens 64]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.shape import shape_from_config
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.local_engine import LocalEngine
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.branches import NAME as BRANCHES
from isoflop.quietstar.branches import Branches
from isoflop.quietstar.cost import cached_flops, reference_flops
from isoflop.quietstar.engine import QuietStar
from isoflop.quietstar.engine_ahead import AheadThinker, front_tokens
from isoflop.quietstar.engine_thinker import QuietThinker
from isoflop.quietstar.naive import naive_next_token
from isoflop.runtime.attention import NAME
from isoflop.runtime.loading import load_model, load_tokenizer
from isoflop.runtime.runner import Runner
from isoflop.studies.hardware import describe_hardware

SHAPE = {
    "vocab_size": 2002,
    "hidden_size": 256,
    "intermediate_size": 896,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
# A random head says nearly nothing; a sharper one makes distributions that can differ.
SHARPER = 12.0
# How often a weight is tried on the text that it makes.
ROUNDS = 9
CLOSE = 0.01  # of the overlap looked for
MISTRAL_7B = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
    "vocab_size": 32002,
}


@dataclass
class Times:
    """Seconds of runs: of the processor, and by the clock."""

    processor: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Time what is inside."""
        began = time.process_time(), time.perf_counter()
        yield
        self.processor.append(time.process_time() - began[0])
        self.clock.append(time.perf_counter() - began[1])

    @property
    def median(self) -> float:
        """Of the processor."""
        return statistics.median(self.processor)

    def line(self, label: str) -> str:
        """The median beside the runs."""
        runs = " ".join(f"{t:.2f}" for t in self.processor)
        return f"{label:22s} {self.median:8.3f} s (clock {statistics.median(self.clock):.3f})  runs: {runs}"


class Subject:
    """One base model under a plain engine, one that thinks, and one that thinks ahead, all over the same slots."""

    def __init__(self, base: Any, context_tokens: int) -> None:
        self.model = ThoughtModel.put_on(base, start_token_id=7)
        config, parameters = self.model.config, self.model.thought_parameters
        base.set_attn_implementation("sdpa")
        slot_tokens = context_tokens + config.inputs
        self.runner = Runner(base, slots=2, slot_tokens=slot_tokens, front=front_tokens(config))
        shape = shape_from_config(base.config.to_dict())
        pricer = Pricer(shape.in_dtype(str(base.dtype).removeprefix("torch.")))
        tokens: Any = SimpleNamespace(pieces=[b"."] * self.runner.vocab_size, end_tokens=frozenset())
        own = self.runner, tokens.pieces, pricer, parameters, config
        thinkers = None, QuietThinker(*own, QuietStar("")), AheadThinker(*own, sampled=False)
        engines = [LocalEngine(self.runner, tokens, pricer.shape, 1, thinker) for thinker in thinkers]
        self.plain, self.cached, self.ahead = engines

    def weigh(self, weight: float) -> None:
        """Let the talk head say this whatever it sees."""
        with torch.no_grad():
            first, _, second, _, last = self.model.thought_parameters.talk_head[0]
            for one in (first.weight, first.bias, second.weight, second.bias, last.weight):
                one.zero_()
            second.bias[0], last.weight[0, 0] = 1.0, weight

    def overlaps(self, text: Sequence[int], begin: int, weights: Sequence[float]) -> list[float]:
        """The mean of the sum of min(p, q) over the tokens from `begin` on, for each constant weight."""
        model = self.model
        model.base.set_attn_implementation(BRANCHES)
        with torch.no_grad():
            ids_1S, anchors_1A = torch.tensor([list(text)]), torch.arange(begin - 1, len(text) - 1)[None]
            thought = model.think(Branches(None), model.embed(ids_1S), anchors_1A, model.choose("greedy"))
            plain_AV = model.logits(thought.visible_BVH[0, begin - 1 : -1])
            thought_AV = model.logits(thought.inputs_BGAH[0, -1])
        model.base.set_attn_implementation(NAME)
        q_AV = plain_AV.softmax(-1)
        mixtures = (torch.lerp(plain_AV, thought_AV, weight).softmax(-1) for weight in weights)
        return [float(torch.minimum(p_AV, q_AV).sum(-1).mean()) for p_AV in mixtures]

    def weight_for(self, share: float, texts: Sequence[tuple[Sequence[int], int]]) -> float:
        """The constant weight at which the overlap over these texts is `share`, on a grid; it is set."""
        grid = np.linspace(0, 1, 41)
        means = np.mean([self.overlaps(text, begin, grid.tolist()) for text, begin in texts], 0)
        below = np.flatnonzero(means <= share)
        if not len(below):
            raise SystemExit(
                f"no weight up to {grid[-1]} brings the overlap down to {share}; the least is {means.min():.3f}"
            )
        low, high = below[0] - 1, below[0]
        weight = float(np.interp(-share, -means[[low, high]], grid[[low, high]]))
        self.weigh(weight)
        return weight


def generate(engine: LocalEngine, prompt: Sequence[int], new_tokens: int, times: Times) -> Any:
    """One sequence at temperature 1, prefill included; its step."""
    asked = Prompt(markers=Markers(step_end=(), stop=()))
    root = Trajectory.at(Origin(Problem("p", ""), asked, "", tuple(prompt), 0, "s"))
    with times.run():
        engine.submit([GenerationRequest(1, root, 1, 1.0, max_tokens=new_tokens, until=Until.END)])
        while not (done := engine.poll()):
            pass
    engine.release("s")
    [step] = done[0].steps
    return step


def kept(step: Any) -> tuple[int, int]:
    """Drafts that stayed, and drafts. The last token's drops are of the end, not of its draft."""
    return sum(not one.dropped for one in step.thoughts[:-1]), max(1, len(step.thoughts) - 1)


def small(given: argparse.Namespace) -> None:
    """The random model, with the twin."""
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, eos_token_id=None, bos_token_id=None, tie_word_embeddings=False, dtype="float32")
    base = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        base.lm_head.weight.mul_(SHARPER)
    subject, new = Subject(base, given.tokens + 8), given.tokens - given.prompt
    prompt = [place * 7 % 250 + 1 for place in range(given.prompt)]
    text = [*prompt, *generate(subject.plain, prompt, new, Times()).tokens]
    weight = subject.weight_for(given.overlap, [(text, given.prompt)])
    print(
        f"{given.prompt} prompt tokens and {new} new ones; overlap {given.overlap} at a constant weight of {weight:.3f}"
    )
    engines = {"plain": subject.plain, "thinking": subject.cached, "thinking ahead": subject.ahead}
    times = {label: Times() for label in engines}
    stayed, twin = [], Times()
    for turn in range(given.turns):
        for label, engine in engines.items():
            step = generate(engine, prompt, new, times[label])
        stayed.append(kept(step))
        if not given.no_twin:
            base.set_attn_implementation(BRANCHES)
            for length in range(given.prompt + turn, given.tokens, given.turns * given.twin_every):
                with twin.run():
                    naive_next_token(subject.model, text[:length])
            base.set_attn_implementation(NAME)
    share, count = (sum(one) for one in zip(*stayed, strict=True))
    for label in engines:
        print(times[label].line(label))
    plain, cached, ahead = (times[label].median for label in engines)
    overlap = subject.overlaps([*prompt, *step.tokens], given.prompt, [weight])[0]
    print(f"drafts that stayed: {share / count:.3f} of {count}; overlap on the text it wrote {overlap:.3f}")
    print(f"thinking / plain: {cached / plain:.2f} (target: at most 6.5); ahead / plain: {ahead / plain:.2f}")
    if twin.processor:
        scale = new / len(twin.processor)
        total, clock = scale * sum(twin.processor), scale * sum(twin.clock)
        print(f"twin, run at {len(twin.processor)} of {new} lengths: {total:.0f} s for all (clock {clock:.0f})")
        print(f"twin / thinking: {total / cached:.1f} (target: at least 45)")
        print(f"twin / thinking ahead: {total / ahead:.1f} (target: at least 100)")


def real(given: argparse.Namespace) -> None:
    """A model from a folder, in bfloat16, on questions."""
    tokenizer = load_tokenizer(given.model)
    lines = Path(given.questions).read_text(encoding="utf-8").splitlines()[: given.prompts]
    chats = [[{"role": "user", "content": json.loads(line)["question"]}] for line in lines]
    rendered = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in rendered]
    context = max(map(len, prompts)) + given.new_tokens + 8
    subject = Subject(load_model(given.model, dtype="bfloat16", device="cpu"), context)
    targets = zip((0.9, 0.8), (1.9, 2.4), strict=True)
    for place, (share, target) in enumerate(targets):
        weight = given.weights[place] if given.weights else found_weight(subject, share, prompts, given.new_tokens)
        subject.weigh(weight)
        times = {"plain": Times(), "thinking": Times(), "thinking ahead": Times()}
        ahead, stayed = [], []
        for number, prompt in enumerate(prompts):
            generate(subject.plain, prompt, given.new_tokens, times["plain"])
            ahead.append(generate(subject.ahead, prompt, given.new_tokens, times["thinking ahead"]))
            stayed.append(kept(ahead[-1]))
            if number < given.cached_prompts:
                generate(subject.cached, prompt, given.new_tokens, times["thinking"])
        print(f"constant weight {weight:.3f}, for an overlap of {share}")
        for label, one in times.items():
            if one.processor:
                print(one.line(label))
        pairs = zip(times["thinking ahead"].processor, times["plain"].processor, strict=True)
        ratios = [one / other for one, other in pairs]
        share_kept = sum(one for one, _ in stayed) / sum(count for _, count in stayed)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"ahead / plain: {statistics.median(ratios):.2f} ({spread}; target: at most {target})")
        written = [([*prompt, *step.tokens], len(prompt)) for prompt, step in zip(prompts, ahead, strict=True)]
        overlap = np.mean([subject.overlaps(*one, [weight])[0] for one in written])
        print(f"drafts that stayed: {share_kept:.3f}; overlap on the text it wrote {overlap:.3f}", flush=True)


def found_weight(subject: Subject, share: float, prompts: Sequence[Sequence[int]], new_tokens: int) -> float:
    """The weight at which the overlap is `share` on the text that thinking ahead writes with it: what it writes changes
    with the weight, so the weight is closed in on from both sides, first by the plain model's text."""
    plain = [generate(subject.plain, prompt, new_tokens, Times()) for prompt in prompts]
    texts = [([*prompt, *step.tokens], len(prompt)) for prompt, step in zip(prompts, plain, strict=True)]
    weight, seen = subject.weight_for(share, texts), {0.0: 1.0, 1.0: 0.0}
    for _ in range(ROUNDS):
        subject.weigh(weight)
        steps = [generate(subject.ahead, prompt, new_tokens, Times()) for prompt in prompts]
        texts = [([*prompt, *step.tokens], len(prompt)) for prompt, step in zip(prompts, steps, strict=True)]
        seen[weight] = float(np.mean([subject.overlaps(*text, [weight])[0] for text in texts]))
        print(f"weight {weight:.3f}: overlap {seen[weight]:.3f}", flush=True)
        if abs(seen[weight] - share) <= CLOSE:
            return weight
        low = max(one for one, overlap in seen.items() if overlap > share)
        high = min((one for one, overlap in seen.items() if overlap <= share and one > low), default=1.0)
        weight = (low + high) / 2
    return min(seen, key=lambda one: abs(seen[one] - share))


def flops() -> None:
    """Mistral-7B's shape, one token at 300."""
    shape = shape_from_config(MISTRAL_7B)
    reference, cached = (count(shape, n_ahead=8, context=300) for count in (reference_flops, cached_flops))
    plain = Pricer(shape).decode(299, 1)
    print(
        f"Mistral-7B at 300 tokens: reference {reference / 1e9:,.0f} GFLOPs, cached {cached / 1e9:.1f} "
        f"(1/{reference / cached:.0f}; target at most 1/300), plain {plain / 1e9:.1f}"
    )


def main() -> None:
    """Print seconds, ratios and FLOPs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512, help="prompt and new tokens together, random model")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--overlap", type=float, default=0.9)
    parser.add_argument("--no-twin", action="store_true")
    parser.add_argument("--twin-every", type=int, default=1, help="run the twin at every so many-th length")
    parser.add_argument("--model", help="a folder; without it, the random model")
    parser.add_argument("--questions", help="JSON lines with a question each")
    parser.add_argument("--weights", type=float, nargs=2, help="constant weights, instead of looking for them")
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--cached-prompts", type=int, default=1, help="thinking token by token is timed on so many")
    parser.add_argument("--new-tokens", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{describe_hardware()}; torch {torch.__version__}, 1 thread", flush=True)
    if given.model:
        real(given)
    else:
        small(given)
    flops()


if __name__ == "__main__":
    main()
