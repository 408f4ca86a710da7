"""Throwaway pilot: does a hidden thought right before a result token help a tiny model to do operations in its head?

Not part of the library and not to be kept alive: it answers one question before machinery is built around it.

Problem: two given digits, then three derived ones, each K = 1..3 operations (+ - *, left to right, mod 10) on digits
and earlier names. A solution line writes the expression with the values put in, names the result, and is cut there:
    c : a 3 * 4 - b 7 = c  <cut: start, K-1 partial results padded to 2, end>  5 ;
The answer is the three results (1000 answers). A thought is a branch that sees the visible prefix and itself, no
visible token ever sees it. Three models, same seed, same problems in the same order, trained in lockstep:
    none      the result is read from the visible row
    filler    the result is read from the end of a branch of two equal filler tokens (same length, no content)
    seeded    the result is read from the end of a branch of partial results, which are supervised
(filler and seeded also train the visible row on the result, so both can be run without thinking.)

    python dev/pilots/hidden_operations.py train --out DIR --rounds 9000
    python dev/pilots/hidden_operations.py evaluate --out DIR
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import DynamicCache

VARIANTS = ("none", "filler", "seeded")
NAMES = "abcdef"
VOCABULARY = [*"0123456789", *NAMES, *"+-*=:;|", "start", "end", "filler", "pad"]
ID = {word: index for index, word in enumerate(VOCABULARY)}
STEPS, MAX_OPERATIONS, SLOTS = 3, 3, 2  # SLOTS: hidden tokens between start and end
BRANCH = SLOTS + 2
IGNORE = -100


def apply(operation: str, left: int, right: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right}[operation] % 10


def make_problem(random: np.random.Generator, max_operations: int) -> dict:
    """One problem: token ids, the boundary positions, thoughts, results and operation counts."""
    values = {name: int(random.integers(10)) for name in NAMES[:2]}
    statement = [token for name in NAMES[:2] for token in (name, str(values[name]), ";")]
    lines, thoughts, counts = [], [], []
    for name in NAMES[2 : 2 + STEPS]:
        count = int(random.integers(1, max_operations + 1))
        known = list(values)
        referenced = set(random.permutation(count + 1)[: random.integers(1, 3)].tolist())
        operands = [
            known[random.integers(len(known))] if k in referenced else str(random.integers(10))
            for k in range(count + 1)
        ]
        operations = [str(random.choice(["+", "-", "*"])) for _ in range(count)]
        numbers = [values[operand] if operand in values else int(operand) for operand in operands]
        partial = [numbers[0]]
        for operation, number in zip(operations, numbers[1:], strict=True):
            partial.append(apply(operation, partial[-1], number))
        written = [[o, str(n)] if o in values else [o] for o, n in zip(operands, numbers, strict=True)]
        statement += [name, ":", operands[0]]
        line = [name, ":", *written[0]]
        for operation, operand, both in zip(operations, operands[1:], written[1:], strict=True):
            statement += [operation, operand]
            line += [operation, *both]
        statement += [";"]
        lines.append(([*line, "=", name], str(partial[-1])))
        thoughts.append([str(p) for p in partial[1:-1]] + ["filler"] * (SLOTS - count + 1))
        values[name] = partial[-1]
        counts.append(count)
    tokens, boundaries = [*statement, "|"], []
    prompt_length = len(tokens)
    for line, result in lines:
        tokens += line
        boundaries.append(len(tokens) - 1)
        tokens += [result, ";"]
    return {
        "ids": [ID[t] for t in tokens],
        "prompt_length": prompt_length,
        "boundaries": boundaries,
        "thoughts": [[ID[t] for t in thought] for thought in thoughts],
        "results": [ID[result] for _, result in lines],
        "counts": counts,
    }


def collate(problems: list[dict], variant: str) -> dict[str, torch.Tensor]:
    """Visible rows first, then one block of BRANCH rows for each boundary; additive mask, positions, labels."""
    size, longest = len(problems), max(len(p["ids"]) for p in problems)
    branches = 0 if variant == "none" else STEPS
    total = longest + branches * BRANCH
    ids = torch.full((size, total), ID["pad"])
    labels = torch.full((size, total), IGNORE)
    positions = torch.arange(longest).repeat(size, 1)
    positions = torch.cat([positions, torch.zeros(size, branches * BRANCH, dtype=torch.long)], 1)
    sees = torch.zeros(size, total, total, dtype=torch.bool)
    sees[:, :longest, :longest] = torch.ones(longest, longest).tril().bool()
    block = torch.ones(BRANCH, BRANCH).tril().bool()
    for row, p in enumerate(problems):
        visible = torch.tensor(p["ids"])
        ids[row, : len(visible)] = visible
        labels[row, p["prompt_length"] - 1 : len(visible) - 1] = visible[p["prompt_length"] :]
        for step in range(branches):
            begin, boundary = longest + step * BRANCH, p["boundaries"][step]
            inside = slice(begin, begin + BRANCH)
            hidden = p["thoughts"][step] if variant == "seeded" else [ID["filler"]] * SLOTS
            ids[row, inside] = torch.tensor([ID["start"], *hidden, ID["end"]])
            positions[row, inside] = torch.arange(boundary + 1, boundary + 1 + BRANCH)
            sees[row, inside, : boundary + 1] = True
            sees[row, inside, inside] = block
            if variant == "seeded":
                labels[row, begin : begin + SLOTS] = torch.tensor(hidden)
            labels[row, begin + BRANCH - 1] = p["results"][step]
    mask = torch.zeros(size, 1, total, total).masked_fill_(~sees[:, None], torch.finfo(torch.float32).min)
    return {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": mask}


def make_model(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=256,
            tie_word_embeddings=True,
        )
    )


def curriculum(fraction: float) -> int:
    return 1 + sum(fraction >= threshold for threshold in (0.15, 0.35))


def forward_loss(model: LlamaForCausalLM, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    labels = batch["labels"]
    rows = {key: value for key, value in batch.items() if key != "labels"}
    logits = model(**rows, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def train(out: Path, rounds: int, seed: int, batch_size: int, max_seconds: float) -> None:
    out.mkdir(parents=True, exist_ok=True)
    models = {variant: make_model(seed) for variant in VARIANTS}
    optimisers = {v: torch.optim.AdamW(m.parameters(), lr=3e-3, weight_decay=0.01) for v, m in models.items()}
    state_path, log_path = out / "state.pt", out / "log.jsonl"
    begin, spent, rows_seen = 0, 0.0, dict.fromkeys(VARIANTS, 0)
    if state_path.exists():
        state = torch.load(state_path)
        begin, spent, rows_seen = state["round"], state["seconds"], state["rows"]
        for v in VARIANTS:
            models[v].load_state_dict(state["models"][v])
            optimisers[v].load_state_dict(state["optimisers"][v])
    print("parameters", sum(p.numel() for p in models["none"].parameters()), "from round", begin, flush=True)
    clock, running = time.perf_counter() - spent, dict.fromkeys(VARIANTS, 0.0)
    for index in range(begin, rounds):
        fraction = index / rounds
        warm_up, cosine = min(1.0, (index + 1) / 200), (1 + math.cos(math.pi * fraction)) / 2
        learning_rate = warm_up * (1.5e-4 + (3e-3 - 1.5e-4) * cosine)
        random = np.random.default_rng([seed, index])  # by round: a resumed run sees the same problems
        problems = [make_problem(random, curriculum(fraction)) for _ in range(batch_size)]
        for v in VARIANTS:
            batch = collate(problems, v)
            loss = forward_loss(models[v], batch)
            optimisers[v].zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(models[v].parameters(), 1.0)
            for group in optimisers[v].param_groups:
                group["lr"] = learning_rate
            optimisers[v].step()
            running[v] += loss.item()
            rows_seen[v] += batch["input_ids"].numel()
        seconds = time.perf_counter() - clock
        last = index + 1 == rounds or seconds > max_seconds
        if (index + 1) % 500 == 0 or last:
            probe = [make_problem(np.random.default_rng([seed, 10**9, i]), MAX_OPERATIONS) for i in range(150)]
            line = {
                "round": index + 1,
                "seconds": round(seconds, 1),
                "max_k": curriculum(fraction),
                "loss": {v: round(running[v] / 500, 4) for v in VARIANTS},
                "by_k": {v: {k: round(a, 3) for k, (a, _) in by_k(models[v], probe, v).items()} for v in VARIANTS},
                "rows": rows_seen,
            }
            running = dict.fromkeys(VARIANTS, 0.0)
            with log_path.open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
            state = {
                "round": index + 1,
                "seconds": seconds,
                "rows": rows_seen,
                "models": {v: m.state_dict() for v, m in models.items()},
                "optimisers": {v: o.state_dict() for v, o in optimisers.items()},
            }
            torch.save(state, state_path.with_suffix(".tmp"))
            os.replace(state_path.with_suffix(".tmp"), state_path)
        if last:
            break


@torch.no_grad()
def by_k(model: LlamaForCausalLM, problems: list[dict], variant: str, think: bool = True) -> dict:
    """Share of right results after the right prefix, by number of operations. A seeded thought is the model's own
    greedy one, not the supervised one."""
    right, seen = Counter(), Counter()
    for start in range(0, len(problems), 50):
        chunk = problems[start : start + 50]
        longest = max(len(p["ids"]) for p in chunk)
        thinks = think and variant != "none"
        batch = collate(chunk, variant if thinks else "none")
        batch.pop("labels")
        slots = range(SLOTS) if thinks and variant == "seeded" else range(0)
        for slot in [*slots, None]:
            logits = model(**batch, use_cache=False).logits
            if slot is None:
                break
            for step in range(STEPS):
                at = longest + step * BRANCH + slot
                batch["input_ids"][:, at + 1] = logits[:, at].argmax(-1)
        for row, p in enumerate(chunk):
            for step, count in enumerate(p["counts"]):
                at = longest + (step + 1) * BRANCH - 1 if thinks else p["boundaries"][step]
                seen[count] += 1
                right[count] += int(logits[row, at].argmax().item() == p["results"][step])
    return {k: (right[k] / seen[k], seen[k]) for k in sorted(seen)}


def pick(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]


def fork(cache: DynamicCache, rows: torch.Tensor) -> DynamicCache:
    forked = DynamicCache()
    for index, layer in enumerate(cache.layers):
        forked.update(layer.keys[rows], layer.values[rows], index)
    return forked


@torch.no_grad()
def generate(model, prompts: torch.Tensor, variant: str, temperature: float, generator) -> torch.Tensor:
    """Free running: visible tokens on a cache; a thought on a forked cache wherever '= name' was just written."""
    ids, cache = prompts, DynamicCache()
    names = torch.tensor([ID[n] for n in NAMES])
    logits = model(ids, past_key_values=cache).logits[:, -1]
    for _ in range(STEPS * (3 * MAX_OPERATIONS + 8)):
        at_boundary = (ids[:, -2] == ID["="]) & torch.isin(ids[:, -1], names)
        rows = at_boundary.nonzero()[:, 0]
        if variant != "none" and len(rows):
            branch, token = fork(cache, rows), torch.full((len(rows),), ID["start"])
            for slot in range(BRANCH):
                inside = model(token[:, None], past_key_values=branch).logits[:, -1]
                if slot == SLOTS:
                    token = torch.full((len(rows),), ID["end"])
                elif variant == "filler":
                    token = torch.full((len(rows),), ID["filler"])
                elif slot < SLOTS:
                    token = pick(inside, temperature, generator)
            logits[rows] = inside
        ids = torch.cat([ids, pick(logits, temperature, generator)[:, None]], 1)
        if bool(((ids[:, prompts.shape[1] :] == ID[";"]).sum(1) >= STEPS).all()):
            break
        logits = model(ids[:, -1:], past_key_values=cache).logits[:, -1]
    return ids[:, prompts.shape[1] :]


def read_results(tokens: list[int]) -> tuple[int, ...] | None:
    """The last digit of each of the first STEPS lines; None where fewer lines were closed or one ends in no digit."""
    results, line = [], []
    for token in tokens:
        if token == ID[";"]:
            results.append(line[-1] if line else -1)
            line = []
        else:
            line.append(token)
    return tuple(results[:STEPS]) if len(results) >= STEPS and all(0 <= r < 10 for r in results[:STEPS]) else None


def run_all(model, problems: list[dict], variant: str, samples: int, temperature: float, seed: int) -> list[list]:
    """Results of every sample of every problem; problems of one prompt length go together."""
    answers: list[list] = [[] for _ in problems]
    generator = torch.Generator().manual_seed(seed)
    lengths = sorted({p["prompt_length"] for p in problems})
    for length in lengths:
        indices = [i for i, p in enumerate(problems) if p["prompt_length"] == length]
        per_chunk = max(1, 512 // samples)
        for start in range(0, len(indices), per_chunk):
            chunk = indices[start : start + per_chunk]
            prompts = torch.tensor([problems[i]["ids"][:length] for i in chunk]).repeat_interleave(samples, 0)
            rows = generate(model, prompts, variant, temperature, generator).tolist()
            for k, row in enumerate(rows):
                answers[chunk[k // samples]].append(read_results(row))
    return answers


def majority(votes: list) -> tuple | None:
    given = Counter(v for v in votes if v is not None)
    return given.most_common(1)[0][0] if given else None


def wilson(right: int, n: int) -> str:
    interval = binomtest(right, n).proportion_ci(method="wilson")
    return f"{100 * right / n:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def measure(model, problems: list[dict], variant: str, samples: int, seed: int, think: bool) -> dict:
    free = variant if think else "none"
    gold = [tuple(p["results"]) for p in problems]
    greedy = [a[0] for a in run_all(model, problems, free, 1, 0.0, seed)]
    sampled = run_all(model, problems, free, samples, 1.0, seed)
    return {
        "by_k": {k: [round(a, 4), n] for k, (a, n) in by_k(model, problems, variant, think).items()},
        "greedy": [int(a == g) for a, g in zip(greedy, gold, strict=True)],
        "sample": [sum(v == g for v in row) / samples for row, g in zip(sampled, gold, strict=True)],
        "majority": [int(majority(row) == g) for row, g in zip(sampled, gold, strict=True)],
        "pass": [int(g in row) for row, g in zip(sampled, gold, strict=True)],
        "unread": sum(r is None for row in sampled for r in row) / (samples * len(problems)),
    }


def sign_flip(first: list[float], second: list[float]) -> float:
    difference = np.array(second) - np.array(first)
    signs = np.random.default_rng(0).choice([-1, 1], size=(20_000, len(difference)))
    return float((1 + (np.abs(signs @ difference) >= abs(difference.sum()) - 1e-9).sum()) / 20_001)


def mcnemar(first: list[int], second: list[int]) -> float:
    won = sum(b > a for a, b in zip(first, second, strict=True))
    lost = sum(b < a for a, b in zip(first, second, strict=True))
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def evaluate(out: Path, problems_wanted: int, samples: int, seed: int, max_operations: int) -> None:
    state = torch.load(out / "state.pt")
    problems = [make_problem(np.random.default_rng([seed, 10**6, i]), max_operations) for i in range(problems_wanted)]
    results_path = out / f"results-{problems_wanted}-{samples}-k{max_operations}-round{state['round']}.json"
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    arms = {"none": ("none", True), "filler": ("filler", True), "seeded": ("seeded", True)}
    arms |= {"seeded, not thinking": ("seeded", False), "filler, not thinking": ("filler", False)}
    for name, (variant, think) in arms.items():
        if name not in results:
            model = make_model(seed)
            model.load_state_dict(state["models"][variant])
            results[name] = measure(model.eval(), problems, variant, samples, seed, think)
            results_path.write_text(json.dumps(results))
        r, n = results[name], problems_wanted
        print(f"{name}: by K {r['by_k']}")
        for metric in ("greedy", "majority", "pass"):
            print(f"   {metric} {wilson(sum(r[metric]), n)}")
        print(f"   one sample at T=1 {100 * np.mean(r['sample']):.1f}; unread {r['unread']:.4f}", flush=True)
    pairs = (("none", "filler"), ("filler", "seeded"), ("none", "seeded"), ("seeded, not thinking", "seeded"))
    for first, second in pairs:
        a, b = results[first], results[second]
        ps = {m: mcnemar(a[m], b[m]) for m in ("greedy", "majority", "pass")}
        ps["sample"] = sign_flip(a["sample"], b["sample"])
        print(f"{first} -> {second}: " + ", ".join(f"{m} p={p:.2g}" for m, p in ps.items()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["train", "evaluate"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9_000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-seconds", type=float, default=3600)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--max-operations", type=int, default=MAX_OPERATIONS, help="of the problems evaluated")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.verb == "train":
        train(args.out, args.rounds, args.seed, args.batch_size, args.max_seconds)
    else:
        evaluate(args.out, args.problems, args.samples, args.seed, args.max_operations)


if __name__ == "__main__":
    main()
