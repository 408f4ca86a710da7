"""H4's choices: mixtures for budgets of seconds, of the arms that dev fixed for FLOPs, by what `isoflop time` measured.

    python recipes/laboratory/claim/seconds.py runs/claim [FILE]

reads dev-N and time-dev-N.txt of that folder for each training seed, and puts [seconds] into claim-choices.toml (or
FILE).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from isoflop.claim.choices import FAMILIES, Choices
from isoflop.claim.choose import choose
from isoflop.claim.evidence import Evidence
from isoflop.studies.run import Run

CHOICES = Path(__file__).parents[3] / "src" / "isoflop" / "laboratory" / "claim-choices.toml"


def main(folder: str, file: str | Path = CHOICES) -> None:
    """Rewrite the file."""
    declared = Choices.load(Path(file))
    runs = sorted(path.parent for path in Path(folder).glob("dev-*/isoflop.db"))
    families = families_of(declared)
    labels = list(dict.fromkeys([declared.unit, *(label for own in families.values() for label in own)]))
    evidence = Evidence.of_runs([Run.open(run) for run in runs], labels)
    timings = [run.with_name(f"time-{run.name}.txt") for run in runs]
    chosen = choose(evidence.with_seconds(timings), declared.unit, families)
    Path(file).write_text(replace(declared, seconds=chosen.seconds).to_toml(), encoding="utf-8")
    print(f"[seconds] of {len(runs)} training seeds: {file}")


def families_of(declared: Choices) -> dict[str, list[str]]:
    """What was fixed for FLOPs, at whatever budget, by family."""
    return {
        name: list(dict.fromkeys(label for mixes in declared.flops.values() for label in mixes[name]))
        for name in FAMILIES
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
