"""How often each hypothesis would be supported if dev's problems and training seeds were the world: the claim's power.

    python recipes/laboratory/claim/power.py choices.toml runs/claim/dev-0 runs/claim/dev-1 ...

Each simulated study draws 4,000 problems and as many training seeds as there are runs from dev's, with replacement, and
is evaluated as the real one will be. Dev chose the arms and is judged here by itself, so this flatters.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from isoflop.claim.choices import Choices
from isoflop.claim.evidence import Evidence
from isoflop.claim.hypotheses import Claim
from isoflop.studies.run import Run

STUDIES, PROBLEMS, RESAMPLES = 100, 4000, 300


def main(choices_file: str, *folders: str) -> None:
    """Print the shares."""
    choices = replace(Choices.load(Path(choices_file)), protocols={}, controls={}, seconds={})
    dev = Evidence.of_runs([Run.open(folder) for folder in folders], choices.labels)
    rng, supported = np.random.default_rng(0), Counter[str]()
    for _ in range(STUDIES):
        problems = rng.integers(0, dev.correct.shape[2], PROBLEMS)
        seeds = rng.integers(0, len(folders), len(folders))
        drawn = Evidence(dev.labels, dev.correct[:, seeds][:, :, problems], dev.flops[:, seeds][:, :, problems])
        found = Claim.of(drawn, choices, resamples=RESAMPLES)
        supported.update(name for name in ("H1", "H2", "H3") if found.verdicts[name].supported)
    for name in ("H1", "H2", "H3"):
        print(f"{name}: supported in {supported[name]} of {STUDIES} simulated studies")


if __name__ == "__main__":
    main(*sys.argv[1:])
