"""The registered study as a study file: of dev's arms those that were chosen, on the test problems of docs/claim.md.

    python recipes/laboratory/claim/test_study.py > src/isoflop/laboratory/claim.toml

The seed of the test problems is the SHA-256 of docs/claim.md, as it stands when this runs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from isoflop.claim.choices import Choices
from isoflop.studies.study_file import load_study

HERE = Path(__file__).parent
CLAIM = HERE.parents[2] / "docs" / "claim.md"
CHOICES = HERE.parents[2] / "src" / "isoflop" / "laboratory" / "claim-choices.toml"
HEAD = """# The registered study of docs/claim.md on one training seed's models: what dev fixed in claim-choices.toml.
# Written by recipes/laboratory/claim/test_study.py; `isoflop demo --full` runs it on the models in the package.
#
#   isoflop study run src/isoflop/laboratory/claim.toml --set models=runs/laboratory/seed-0/ --out runs/claim/test-0

name = "claim"
variables = {{ models = "lab:", n = "4000" }}
problems = "hiddenops(n_steps=[4, 5, 6], n=${{n}}, test_seed='{seed}')"
split = "test"
seeds = [0]
prompt = "plain(step_end=['= '], answer_prefix='\\\\n#### ')"
reference = "{unit}"
concurrency = 200
"""


def main() -> None:
    """Print the file."""
    chosen = Choices.load(CHOICES)
    # ${models} stays a variable.
    study = load_study(HERE / "dev.toml", {"models": "${models}"})
    print(HEAD.format(seed=hashlib.sha256(CLAIM.read_bytes()).hexdigest(), unit=chosen.unit))
    for arm, label in zip(study.arms, study.labels, strict=True):
        if label in chosen.labels:
            print(f'[[arms]]\nname = "{label}"\nmodel = "{arm.engine}"\nstrategy = "{arm.strategy}"')
            print(f'reward = "{arm.reward}"' if arm.reward else "", f'sampling = "{arm.sampling}"\n', sep="\n")


if __name__ == "__main__":
    main()
