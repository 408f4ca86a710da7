"""An attempt as it is stored, and read back: what redraws every table, figure and tree, without the model.

`encode` makes one row of plain values from an `Attempt`: summary columns, the tree as compact JSON columns, token ids
and log-probabilities packed (32-bit integers, 64-bit floats, little-endian). `Record` reads a row and decodes the tree
only where it is asked for. It keeps no open engine and no grader: the verdict was made when the attempt was.

    for record in run.attempts:
        print(record.arm, record.problem.id, record.correct, record.charged_total.flops, len(record.nodes))

The columns are written down in docs/record-format.md.
"""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from itertools import chain
from typing import Any

from isoflop.core import Attempt, Candidate, Channel, Outcome, Problem, Step, StepEnd, Stop
from isoflop.cost.ledger import ROLES, ZERO, Cost, NodeCost, Role
from isoflop.thought import Thought

COLUMNS = (
    "arm",
    "problem",
    "seed",
    "stop",
    "message",
    "outcome",
    "answer",
    "chosen",
    "tied",
    "candidates",
    "spent",
    "charged",
    "seconds",
    "overshoot_seconds",
    "prompt",
    "tree",
    "tokens",
    "logprobs",
)
TREE_COLUMNS = COLUMNS[-3:]  # the bulk of a row; fetched only for records whose tree is asked for
_COST_DEFAULTS = {field.name: field.default for field in fields(Cost)}
_ENDS = {end: str(place) for place, end in enumerate(StepEnd)}
_CHANNELS = {channel: str(place) for place, channel in enumerate(Channel)}
_END_OF, _CHANNEL_OF = list(StepEnd), list(Channel)
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}  # looking it up in the enumeration takes 100 times as long
# The values of some columns of one stored attempt, fetched when asked for.
Fetch = Callable[[Sequence[str]], Sequence[Any]]
_SWAP = sys.byteorder == "big"


@dataclass(frozen=True, slots=True)
class Node:
    """A stored step with its place in the tree: `parent` is an index into the nodes, None below the prompt; `path` the
    child indices from the prompt on; `reward` the step's own, None where it was not scored; `cost` None in old runs."""

    parent: int | None
    path: tuple[int, ...]
    step: Step
    reward: float | None
    cost: NodeCost | None = None

    @property
    def depth(self) -> int:
        """Steps since the prompt, this one included."""
        return len(self.path)


class Record:
    """One stored attempt, from the store's row; the tree, the votes and the costs are decoded when asked for."""

    def __init__(self, arm: str, problem: Problem, row: Mapping[str, Any], fetch: Fetch) -> None:
        self.arm, self.problem = arm, problem
        self.seed: int = row["seed"]
        self.stop = Stop(row["stop"])
        self.message: str = row["message"]
        self.outcome = Outcome(row["outcome"])
        self.answer: str | None = row["answer"]
        self.chosen: int | None = row["chosen"]
        self.seconds: float = row["seconds"]
        self.overshoot_seconds: float = row["overshoot_seconds"]
        self._row, self._fetch = row, fetch

    @property
    def correct(self) -> bool:
        """True where the final answer is right; everything else counts as wrong."""
        return self.outcome is Outcome.CORRECT

    @property
    def failed(self) -> bool:
        """True for an attempt that counts as not made: it must be rerun before its arm is tested."""
        return self.stop is Stop.ERROR or self.outcome is Outcome.ERROR

    @cached_property
    def spent(self) -> dict[Role, Cost]:
        """What was computed for this attempt, by role."""
        return decode_costs(self._row["spent"])

    @cached_property
    def charged(self) -> dict[Role, Cost]:
        """What the strategy takes when it runs alone, by role."""
        return decode_costs(self._row["charged"])

    @property
    def spent_total(self) -> Cost:
        """`spent`, all roles together."""
        return sum(self.spent.values(), ZERO)

    @property
    def charged_total(self) -> Cost:
        """`charged`, all roles together."""
        return sum(self.charged.values(), ZERO)

    @cached_property
    def tied(self) -> tuple[str, ...]:
        """Labels that shared the first place; the answer was drawn among them by seeded chance."""
        return tuple(json.loads(self._row["tied"]))

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """What took part in the vote; `node` is an index into `nodes`."""
        return tuple(
            Candidate(node, answer, label, weight, bool(fallback), _OUTCOMES[outcome])
            for node, answer, label, weight, fallback, outcome in json.loads(self._row["candidates"])
        )

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The tree, parents before children."""
        return self.read_nodes()

    def read_nodes(self) -> tuple[Node, ...]:
        """The tree, not kept: for whoever looks at many attempts once."""
        return _decode_tree(*self._fetch(TREE_COLUMNS))

    def outline(self) -> dict[str, Any]:
        """The tree as its stored columns (docs/record-format.md), without token ids: ten times as quick as `nodes`,
        for whoever walks through whole runs. Nothing is kept."""
        [tree] = self._fetch(("tree",))
        return dict(json.loads(tree))

    @cached_property
    def prompt_text(self) -> str:
        """The prompt as the model was given it; empty where the attempt failed before there was one."""
        [text] = self._fetch(("prompt_text",))
        return text or ""

    def solution(self, node: int) -> str:
        """The whole text that ends in this node."""
        texts: list[str] = []
        place: int | None = node
        while place is not None:
            texts.append(self.nodes[place].step.text)
            place = self.nodes[place].parent
        return "".join(reversed(texts))

    def __repr__(self) -> str:
        return f"Record({self.arm!r}, problem {self.problem.id!r}, seed {self.seed}, {self.outcome.value})"


def encode(attempt: Attempt, arm: int, problem: int, prompt: str | None) -> tuple[Any, ...]:
    """One row, values in the order of `COLUMNS`; `arm` and `problem` are places in the study, `prompt` a text's key."""
    tree, tokens, logprobs = _encode_tree(attempt)
    votes = [(c.node, c.answer, c.label, c.weight, int(c.fallback), c.outcome.value) for c in attempt.candidates]
    return (
        arm,
        problem,
        attempt.seed,
        attempt.stop.value,
        storable(attempt.message),
        attempt.outcome.value,
        None if attempt.answer is None else storable(attempt.answer),
        attempt.chosen,
        json.dumps(attempt.tied),
        json.dumps(votes),
        encode_costs(attempt.spent),
        encode_costs(attempt.charged),
        attempt.seconds,
        attempt.overshoot_seconds,
        prompt,
        tree,
        tokens,
        logprobs,
    )


def text_key(text: str) -> str:
    """The key under which a long text that many attempts share (the prompt) is stored once."""
    return hashlib.blake2b(storable(text).encode(), digest_size=12).hexdigest()


def storable(text: str) -> str:
    """The text itself, unless it holds lone surrogates, which no UTF-8 file can: those are spelled out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def encode_costs(costs: Mapping[Role, Cost]) -> str:
    """Costs by role as JSON, with the fields that are not at their default."""
    return json.dumps({role: _cost_fields(cost) for role, cost in costs.items()})


def decode_costs(text: str) -> dict[Role, Cost]:
    """The inverse of `encode_costs`."""
    found = json.loads(text)
    return {role: Cost(**found[role]) for role in ROLES if role in found}


def _cost_fields(cost: Cost) -> dict[str, float]:
    return {name: value for name, default in _COST_DEFAULTS.items() if (value := getattr(cost, name)) != default}


def encode_steps(steps: Sequence[Step]) -> tuple[str, bytes, bytes]:
    """A chain of steps as JSON columns, packed token ids and packed log-probabilities."""
    columns = {
        "text": [step.text for step in steps],
        "tokens": [len(step.tokens) for step in steps],
        "logprobs": [len(step.logprobs) for step in steps],
        "forced": [step.forced for step in steps],
        "end": "".join([_ENDS[step.end] for step in steps]),
        "channel": "".join([_CHANNELS[step.channel] for step in steps]),
    }
    if any(step.trailing for step in steps):
        columns["trailing"] = [step.trailing for step in steps]
    if any(step.readouts for step in steps):
        columns["readouts"] = [step.readouts for step in steps]
    if any(step.thoughts for step in steps):
        columns["thoughts"] = [[astuple(thought) for thought in step.thoughts] for step in steps]
    tokens = array("i", chain.from_iterable([step.tokens for step in steps]))
    logprobs = array("d", chain.from_iterable([step.logprobs for step in steps]))
    return json.dumps(columns), _little(tokens), _little(logprobs)


def decode_steps(text: str, tokens: bytes, logprobs: bytes) -> list[Step]:
    """The inverse of `encode_steps`."""
    return _steps_of(json.loads(text), tokens, logprobs)


def _encode_tree(attempt: Attempt) -> tuple[str, bytes, bytes]:
    nodes = attempt.nodes
    place = {id(node): index for index, node in enumerate(nodes)}
    own, tokens, logprobs = encode_steps([node.step for node in nodes if node.step is not None])
    # A parent that is not among the nodes is the root: the prompt itself, which has no step.
    parents = [place.get(id(node.parent), -1) for node in nodes]
    links: dict[str, Any] = {
        "parent": parents,
        "index": [node.path[-1] for node in nodes],
        "reward": list(attempt.rewards),
    }
    if attempt.node_costs:
        links["cost"] = [astuple(cost) for cost in attempt.node_costs]
    return f"{json.dumps(links)[:-1]}, {own[1:]}", tokens, logprobs


def _decode_tree(tree: str, tokens: bytes, logprobs: bytes) -> tuple[Node, ...]:
    columns = json.loads(tree)
    nodes: list[Node] = []
    steps = _steps_of(columns, tokens, logprobs)
    costs = [NodeCost(*cost) for cost in columns["cost"]] if "cost" in columns else [None] * len(steps)
    links = zip(columns["parent"], columns["index"], columns["reward"], strict=True)
    for (parent, index, reward), step, cost in zip(links, steps, costs, strict=True):
        path = (*(nodes[parent].path if parent >= 0 else ()), index)
        nodes.append(Node(parent if parent >= 0 else None, path, step, reward, cost))
    return tuple(nodes)


def _steps_of(columns: Mapping[str, Any], tokens: bytes, logprobs: bytes) -> list[Step]:
    ids, values = _unpack("i", tokens), _unpack("d", logprobs)
    count = len(columns["text"])
    trailing, readouts = columns.get("trailing", [0] * count), columns.get("readouts", [()] * count)
    thoughts = columns.get("thoughts", [()] * count)
    steps: list[Step] = []
    token, logprob = 0, 0
    for i, text in enumerate(columns["text"]):
        more_tokens, more_logprobs = token + columns["tokens"][i], logprob + columns["logprobs"][i]
        steps.append(
            Step(
                text,
                tuple(ids[token:more_tokens]),
                tuple(values[logprob:more_logprobs]),
                forced=columns["forced"][i],
                trailing=trailing[i],
                end=_END_OF[int(columns["end"][i])],
                channel=_CHANNEL_OF[int(columns["channel"][i])],
                readouts=tuple(readouts[i]),
                thoughts=tuple(Thought(at, tuple(own), *rest) for at, own, *rest in thoughts[i]),
            )
        )
        token, logprob = more_tokens, more_logprobs
    return steps


def _little(values: array[Any]) -> bytes:
    if _SWAP:
        values.byteswap()
    return values.tobytes()


def _unpack(kind: str, packed: bytes) -> array[Any]:
    values: array[Any] = array(kind)
    values.frombytes(packed)
    if _SWAP:
        values.byteswap()
    return values
