"""Every noun: Problem, Step, Trajectory, Candidate, Stop, Attempt (what a model is asked: `asking.py`).

A `Trajectory` is immutable and linked to its parent: the tree node *is* the path, and a fork shares its past. Steps
hold only their own tokens. Nothing here knows a model, a clock or a file.

    root = Trajectory.at(Origin(problem, prompt, prompt_tokens, seed=0, search="a"))
    child = root.extend(Step("3 + 4 = 7\\n", tokens=(5, 6), logprobs=(-0.1, -0.2)), index=0)
    child.text, child.depth, child.num_tokens     # "3 + 4 = 7\\n", 1, 2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from isoflop.asking import Prompt
from isoflop.cost.ledger import Cost, NodeCost, Role
from isoflop.thought import Thought


class Channel(StrEnum):
    """Where a step is seen: in the answer, inside a `<think>` block, or nowhere (a latent thought)."""

    VISIBLE = "visible"
    THINK = "think"
    LATENT = "latent"


class StepEnd(StrEnum):
    """Why a step ended. Only the last three finish or cut a trajectory; a token count alone never ends a step."""

    DELIMITER = "delimiter"  # the prompt format's step end was written
    END = "end"  # end-of-sequence or a stop string: the solution is complete
    CLOSED = "closed"  # the answer prefix was forced and a few tokens followed: complete, by force
    CAP = "cap"  # the token cap was reached in mid-step: not complete


class Stop(StrEnum):
    """Why a search stopped. A stop is data and carries its message in the attempt."""

    FINISHED = "finished"
    BUDGET = "budget"
    DEPTH = "depth"
    NO_CANDIDATES = "no_candidates"
    ERROR = "error"


class Outcome(StrEnum):
    """What the grader said. All but `correct` count as wrong in n; an `error` makes the arm incomplete."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    UNVERIFIABLE = "unverifiable"
    UNGRADED = "ungraded"  # the problem has no gold answer
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """A question and, where known, its gold answer. `id` is unique within its set and names the random stream."""

    id: str
    question: str
    answer: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of a solution: its own text and tokens alone.

    The first `forced` tokens were put there, the others sampled; `logprobs` are those of the sampled ones, at
    temperature 1 over the whole vocabulary, in nats. `readouts`: what the engine's head, if it has one, read off the
    final hidden state that chose the last token; no forward is needed for that.
    """

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    forced: int = 0
    end: StepEnd = StepEnd.DELIMITER
    channel: Channel = Channel.VISIBLE
    readouts: tuple[float, ...] = ()
    trailing: int = 0  # the last tokens, end-of-sequence or a stop string, that the text leaves out
    thoughts: tuple[Thought, ...] = ()  # what was thought before its tokens, and left no trace in them

    @property
    def sampled(self) -> int:
        """Tokens that were sampled, not forced."""
        return len(self.tokens) - self.forced


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tree starts: problem, prompt as text and tokens, seed, and the name of the search that owns it."""

    problem: Problem
    prompt: Prompt
    prompt_text: str
    prompt_tokens: tuple[int, ...]
    seed: int
    search: str


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """A path from a prompt: equal to itself alone. Build it with `at` and `extend`, which keep the sums right."""

    origin: Origin
    parent: Trajectory | None = None
    step: Step | None = None
    path: tuple[int, ...] = ()
    depth: int = 0
    num_tokens: int = 0  # since the prompt, forced ones included
    num_sampled: int = 0
    thinking: bool = False  # inside an open think block

    @classmethod
    def at(cls, origin: Origin) -> Trajectory:
        """The root. A prompt whose last think mark is an opening one starts inside the think block."""
        think = origin.prompt.markers.think
        opened = think is not None and origin.prompt_text.rfind(think[0]) > origin.prompt_text.rfind(think[1])
        return cls(origin, thinking=opened)

    def extend(self, step: Step, index: int) -> Trajectory:
        """The `index`-th child, whose step is `step`."""
        thinking = self.thinking
        think = self.origin.prompt.markers.think
        if think is not None:
            opened, closed = step.text.rfind(think[0]), step.text.rfind(think[1])
            thinking = (thinking or opened >= 0) and closed <= opened if max(opened, closed) >= 0 else thinking
        return Trajectory(
            self.origin,
            self,
            step,
            (*self.path, index),
            self.depth + 1,
            self.num_tokens + len(step.tokens),
            self.num_sampled + step.sampled,
            thinking,
        )

    @property
    def length(self) -> int:
        """Tokens in all, prompt included."""
        return len(self.origin.prompt_tokens) + self.num_tokens

    @property
    def finished(self) -> bool:
        """True where the solution is complete, by itself or by force."""
        return self.step is not None and self.step.end in (StepEnd.END, StepEnd.CLOSED)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps from the root on."""
        found: list[Step] = []
        node: Trajectory | None = self
        while node is not None and node.step is not None:
            found.append(node.step)
            node = node.parent
        return tuple(reversed(found))

    @property
    def text(self) -> str:
        """Everything written since the prompt, thinking included."""
        return "".join(step.text for step in self.steps)

    @property
    def visible_text(self) -> str:
        """What answers are read from: thinking and latent steps left out."""
        return "".join(step.text for step in self.steps if step.channel is Channel.VISIBLE)

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens, the prompt's first."""
        return self.origin.prompt_tokens + tuple(token for step in self.steps for token in step.tokens)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trajectory that took part in the vote: what was read from it, its label (what it votes for) and weight."""

    node: int
    answer: str | None
    label: str | None
    weight: float | None
    fallback: bool = False  # the answer was read by the marked fallback (last number)
    outcome: Outcome = Outcome.UNGRADED


@dataclass(frozen=True, slots=True)
class Attempt:
    """One strategy's search on one problem with one seed: the tree, the vote, the verdict, and what it took.

    `nodes` are all trajectories made, parents before children; `rewards[i]` is node i's own step reward, None where it
    was not scored. `spent` is what was computed for this attempt, `charged` what the strategy takes when it runs alone
    (nothing borrowed from other arms, nothing recomputed): FLOPs exact, seconds modelled.
    """

    key: Any
    problem: Problem
    seed: int
    stop: Stop
    message: str
    nodes: tuple[Trajectory, ...]
    rewards: tuple[float | None, ...]
    candidates: tuple[Candidate, ...]
    chosen: int | None  # index into candidates
    answer: str | None
    tied: tuple[str, ...]
    outcome: Outcome
    spent: Mapping[Role, Cost]
    charged: Mapping[Role, Cost]
    seconds: float = 0.0  # wall clock from start to end, neighbours' work included
    overshoot_seconds: float = 0.0
    node_costs: tuple[NodeCost, ...] = ()  # one a node
