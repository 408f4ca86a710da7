"""The two protocols of the published study, with their faults, so that its results can be reproduced in kind.

Nothing here is advice. `published_vote(n=6)`: solutions are cut at `max_tokens`, the suffix (the prompt's answer
prefix) is put behind each of them whether it had answered or not, and the majority wins. `published_rebase(width=6)`: a
node is a cut of `step_tokens`, not a step; it is a leaf as soon as its last two sentences hold a digit, or the question
or the text says "Therefore," or "Thus,"; nodes whose reward is not above `drop` are lost with their share of the width;
no path is made to answer; the leaf with the highest last reward gives the answer.

A mend is a field: `drop=0`, `leaf_test="finished"`, `vote="weighted"`, `max_tokens`, `step_tokens`; all of them and
forced closes are `rebase(width=6, temperature=0.2, balance="ceil")`. Not as published: text is kept as it was prompted
(the study glued question and cuts together, without the prompt's suffix), so that "Step 2:" stays in it.

"Inference Scaling vs Reasoning", arXiv 2412.16260, and its published code; what is wrong: docs/the-published-study.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Continue, Expand, Score, Search, Strategy
from isoflop.search.choose import generator
from isoflop.search.rebase import balance
from isoflop.specs import require

SAID = ("Therefore,", "Thus,")
_SENTENCE_END = re.compile(r"[.!?\n]+")


@dataclass(frozen=True)
class PublishedVote(Strategy):
    """`published_vote(n=6)`: cut, then `answer_tokens` behind the suffix, then the majority."""

    spec_name: ClassVar[str] = "published_vote"
    closes: ClassVar[bool] = False

    n: int = 6
    max_tokens: int = 384
    answer_tokens: int = 12

    def __post_init__(self) -> None:
        _require_counts(self, "n", "max_tokens", "answer_tokens")

    def search(self, root: Trajectory) -> Search:
        """n cut solutions, and what stands behind the suffix of each."""
        suffix = root.origin.prompt.markers.answer_prefix
        [solutions] = yield Expand((root,), (self.n,), until=Until.END, max_tokens=self.max_tokens, close=False)
        return (yield Continue(solutions, suffix, max_tokens=self.answer_tokens, close=False))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class PublishedRebase(Strategy):
    """`published_rebase(width=6)`: see the module. `label` is put before each cut but the first."""

    spec_name: ClassVar[str] = "published_rebase"
    guided: ClassVar[bool] = True
    closes: ClassVar[bool] = False

    width: int = 6
    step_tokens: int = 96
    max_tokens: int = 384
    temperature: float = 0.2
    drop: float = 0.1
    leaf_test: Literal["any digit", "finished"] = "any digit"
    label: str = "\nStep {step}:"
    vote: VoteRule = field(default="best", kw_only=True)

    def __post_init__(self) -> None:
        _require_counts(self, "width", "step_tokens", "max_tokens")
        require(self.temperature > 0, f"published_rebase(temperature={self.temperature}): must be above 0")
        require(0 <= self.drop < 1, f"published_rebase(drop={self.drop}): a reward, 0 to below 1")

    def search(self, root: Trajectory) -> Search:
        """Cut, score, drop, move the leaves aside, share what is left; repeat."""
        rng = generator(root, "published_rebase")
        leaves: list[Trajectory] = []
        left, cuts = self.width, 1
        [children] = yield self._first(root)
        while children:
            rewards = yield Score(children)
            scored = [(node, steps[-1]) for node, steps in zip(children, rewards, strict=True) if steps[-1] > self.drop]
            new = [node for node, _ in scored if self.is_leaf(node)]
            leaves += new
            left -= len(new) + len(children) - len(scored)
            parents = [(node, reward) for node, reward in scored if node not in new]
            if not parents or left < 1:
                break
            widths = balance([reward for _, reward in parents], left, self.temperature, "ceil", rng)
            cuts += 1
            ends = [node for (node, _), width in zip(parents, widths, strict=True) for _ in range(width)]
            children = yield from self._next(ends, cuts)
        return leaves

    def is_leaf(self, node: Trajectory) -> bool:
        """Whether the study takes this for a solution."""
        if node.finished or node.num_sampled >= self.max_tokens:
            return True
        if self.leaf_test == "finished":
            return False
        text = f"{node.origin.problem.question}\n{node.visible_text}"
        sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]
        return any(word in text for word in SAID) or any(letter.isdigit() for letter in "".join(sentences[-2:]))

    def _first(self, root: Trajectory) -> Expand:
        return Expand((root,), (self.width,), until=Until.END, max_tokens=self._room(root), close=False)

    def _next(self, ends: list[Trajectory], cut: int) -> Search:
        """One cut more behind each, a trajectory as often as it is listed."""
        label = self.label.replace("{step}", str(cut))
        room = min(self._room(node) for node in ends)
        if label:
            return (yield Continue(ends, label, max_tokens=room, close=False))  # type: ignore[no-any-return]
        grown = yield Expand(ends, [1] * len(ends), until=Until.END, max_tokens=room, close=False)
        return [node for [node] in grown]

    def _room(self, node: Trajectory) -> int:
        return min(self.step_tokens, self.max_tokens - node.num_sampled)


def _require_counts(strategy: Strategy, *names: str) -> None:
    for name in names:
        value = getattr(strategy, name)
        require(value >= 1, f"{strategy.spec_name}({name}={value}): at least 1")
