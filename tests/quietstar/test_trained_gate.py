"""A gate head from its training to the engine that asks it."""

from __future__ import annotations

from dataclasses import replace

import torch
from thinking_engines import TEXTS, ask, opened, root, run

from isoflop.api import solve
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.training.loop import train
from isoflop.thought import ThoughtFigures


@torch.inference_mode()
def chances(model, tokens):
    """What the learned gate says at each position that a thought helps."""
    hidden = model.base.model(torch.tensor([tokens])).last_hidden_state[0]
    return model.thought_parameters.gate_head(hidden).tolist()


def test_the_engine_gates_by_the_head_that_the_trainer_made(settings):
    folder = train(replace(settings, gate_rate=3e-2, positions="all", steps=6, save_every=6, warmup_steps=1))
    plain = opened(folder, n_ahead=5, think="never")
    start = root(plain, TEXTS[0], step_end=())
    [reply] = run(plain, [ask(1, start, tokens=24, temperature=0.0)])
    known = sorted(chances(ThoughtModel.load(folder), [*start.tokens, *reply.steps[0].tokens])[start.length - 1 : -1])
    assert known[0] < known[-1]  # learned: a new one says a half everywhere
    threshold = (known[11] + known[12]) / 2
    gate = f"gate({threshold!r}, by='head')"

    engine = opened(folder, n_ahead=5, think=gate)
    request = ask(1, root(engine, TEXTS[0], step_end=()), tokens=24, temperature=0.0)
    [reply] = run(engine, [request])
    [step] = reply.steps
    said = chances(ThoughtModel.load(folder), [*request.parent.tokens, *step.tokens])[request.parent.length - 1 : -1]
    assert [one.at for one in step.thoughts] == [place for place, chance in enumerate(said) if chance > threshold]
    figures = ThoughtFigures.of([(step.sampled, step.thoughts)])
    assert 0 < figures.rate < 1
    assert figures.hit_rate == sum(one.changed for one in step.thoughts) / len(step.thoughts)

    how = {"strategy": "greedy()", "prompt": "plain()", "sampling": "sampling(max_tokens=24)"}
    spec = f'quietstar(model="{folder}", n_ahead=5, think="{gate}", context_tokens=128, memory_gb=0.1)'
    attempt = solve(TEXTS[0], model=spec, **how)
    noted = ThoughtFigures.of((node.step.sampled, node.step.thoughts) for node in attempt.nodes if node.step)
    assert noted.thoughts > 0
    assert attempt.charged["thought"].flops > 0
    assert attempt.charged["thought"].new_tokens == noted.thoughts * 2
