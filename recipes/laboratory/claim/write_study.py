"""The registered study's files, from what dev fixed: which arms are run, on which problems, and beside which controls.

    python recipes/laboratory/claim/write_study.py choices.toml [FOLDER]

writes into src/isoflop/laboratory: claim-choices.toml (the choices, with protocols and controls), claim.toml (of dev's
arms those that were chosen, and H0's) and claim-controls.toml. Controls are fixed by rule: C's choice at 8 units with
the control in its place; what has no thoughts also as a vote. The seed of the test problems is the SHA-256 of
docs/claim.md.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from isoflop.claim.choices import Choices
from isoflop.specs import parse
from isoflop.studies.spec import Arm
from isoflop.studies.study_file import load_study

ROOT = Path(__file__).parents[3]
OUT = ROOT / "src" / "isoflop" / "laboratory"
ENGINE = "context_tokens=192, memory_gb=1.0, threads=1, max_live=512"
THINK = f"n_ahead=6, think='boundary', {ENGINE}"
SAMPLING = "sampling(temperature=1.0, max_tokens=160, answer_tokens=4)"
VOTE = "weighted_vote(n=8, aggregate='min')"
HEAD = """# The registered study of docs/claim.md on the models of one training seed: {what}.
# Written by recipes/laboratory/claim/write_study.py.
#
#   isoflop study run src/isoflop/laboratory/{name}.toml --set models=runs/laboratory/seed-0/ --out runs/claim/{name}-0

name = "{name}"
variables = {{ models = "lab:", n = "{n}", split = "test" }}
problems = "hiddenops(n_steps=[4], ops=[1, 2, 2, 3, 3], n=${{n}}, test_seed='{seed}')"
split = "${{split}}"
seeds = [0]
prompt = "plain(step_end=['= '], answer_prefix='\\\\n#### ')"
concurrency = 200
"""
# H0: the published protocol with thoughts where they were learnt; and the same two by ours.
PROTOCOLS = {
    "published": {"C": ("published: C", "rebase(width=6)"), "T": ("published: T", "self_consistency(n=6)")},
    "corrected": {"C": ("corrected: C", "rebase(width=6)"), "T": ("corrected: T", VOTE.replace("n=8", "n=6"))},
}
PUBLISHED = "as_published(solution_tokens=41, label='')"
# Policy and reward of each control. What has no thoughts stands there as a vote, too.
CONTROLS = {
    "visible scratchpad": (f"local('${{models}}scratchpad', {ENGINE})", "trunk('${models}scratchpad-reward')"),
    "deeper model": (f"local('${{models}}deeper', {ENGINE})", "trunk('${models}deeper-reward')"),
    "base trained longer": (f"local('${{models}}longer', {ENGINE})", "trunk('${models}longer-reward')"),
    "thoughts never had": (
        f"quietstar('${{models}}thoughts', n_ahead=6, think='never', {ENGINE})",
        "trunk('${models}never-reward')",
    ),
    "filler thoughts": (f"quietstar('${{models}}fillers', {THINK})", "trunk('${models}fillers-reward')"),
    "shuffled thoughts": (f"quietstar('${{models}}shuffled', {THINK})", "trunk('${models}shuffled-reward')"),
    "random reward": (f"quietstar('${{models}}thoughts', {THINK})", "random()"),
    "oracle reward": (f"quietstar('${{models}}thoughts', {THINK})", "oracle()"),
    "oracle gate": (
        f"quietstar('${{models}}thoughts', {THINK.replace('boundary', 'oracle')})",
        "trunk('${models}thoughts-reward')",
    ),
}
VOTING = ("visible scratchpad", "deeper model", "base trained longer", "thoughts never had")


def main(chosen: str, folder: str | Path = OUT) -> None:
    """Write the three files."""
    choices = Choices.load(Path(chosen))
    # ${models} stays a variable.
    study = load_study(Path(__file__).parent / "dev.toml", {"models": "${models}"})
    arms = dict(zip(study.labels, study.arms, strict=True))
    searches = {label.removeprefix("C "): arms[label] for label in choices.flops[8]["C"]}
    controls = {name: tuple(f"{name}: {search}" for search in searches) for name in CONTROLS}
    votes = {f"{name}, vote": (f"{name}: {VOTE}",) for name in VOTING}
    protocols = {kind: {who: label for who, (label, _) in pair.items()} for kind, pair in PROTOCOLS.items()}
    file = Path(folder) / "claim-choices.toml"
    seconds = Choices.load(file).seconds if file.exists() else {}  # seconds.py puts them there
    choices = replace(choices, protocols=protocols, controls=controls | votes, seconds=seconds)
    file.write_text(choices.to_toml())
    run = [
        f'reference = "{choices.unit}"',
        "",
        *(_arm(label, arm) for label, arm in arms.items() if label in choices.labels),
    ]
    _write(Path(folder), "claim", "what dev fixed", 4000, [*run, *_protocols()])
    _write(Path(folder), "claim-controls", "the controls", 1000, ["", *_controls(searches)])


def _protocols() -> Iterator[str]:
    for kind, pair in PROTOCOLS.items():
        for label, strategy in pair.values():
            text = _table(
                label, f"quietstar('${{models}}thoughts', {THINK})", strategy, "trunk('${models}thoughts-reward')"
            )
            yield text + (f'protocol = "{PUBLISHED}"\n' if kind == "published" else "")


def _controls(searches: Mapping[str, Arm]) -> Iterator[str]:
    for name, (model, reward) in CONTROLS.items():
        for search, arm in searches.items():
            yield _table(f"{name}: {search}", model, str(arm.strategy), reward, str(arm.sampling))
        if name in VOTING:
            yield _table(f"{name}: {VOTE}", model, VOTE, reward)


def _arm(label: str, arm: Arm) -> str:
    return _table(label, str(arm.engine), str(arm.strategy), str(arm.reward or ""), str(arm.sampling))


def _table(label: str, model: str, strategy: str, reward: str, sampling: str = SAMPLING) -> str:
    needed = f'reward = "{reward}"\n' if parse("strategy", strategy).needs_reward else ""
    return f'[[arms]]\nname = "{label}"\nmodel = "{model}"\nstrategy = "{strategy}"\n{needed}sampling = "{sampling}"\n'


def _write(folder: Path, name: str, what: str, n: int, lines: Iterable[str]) -> None:
    seed = hashlib.sha256((ROOT / "docs" / "claim.md").read_bytes()).hexdigest()
    (folder / f"{name}.toml").write_text(HEAD.format(name=name, what=what, n=n, seed=seed) + "\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
