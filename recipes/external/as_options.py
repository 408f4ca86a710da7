"""What a study file says of its first arm, as options of `isoflop reward label`: prompts are written once.

python recipes/external/as_options.py recipes/external/chain-sum.toml model=DIR split=train n=160
"""

import shlex
import sys

from isoflop.studies.study_file import load_study


def options(path: str, *variables: str) -> list[str]:
    """Model, problems, split, prompt and sampling of the study, with these `NAME=VALUE` variables."""
    study = load_study(path, dict(variable.split("=", 1) for variable in variables))
    arm = study.arms[0]
    found = {"model": arm.engine, "problems": study.problems, "split": study.split}
    found |= {"prompt": arm.prompt, "sampling": arm.sampling}
    return [part for name, value in found.items() for part in (f"--{name}", str(value))]


if __name__ == "__main__":
    print(shlex.join(options(*sys.argv[1:])))
