"""What a study file says of one arm, as options of `isoflop reward label`: engines and prompts are written once.

python recipes/external/as_options.py recipes/external/chain-sum.toml "greedy()" model=DIR split=train n=160
"""

import shlex
import sys

from isoflop.studies.study_file import load_study


def options(path: str, label: str, *variables: str) -> list[str]:
    """Model, problems, split, prompt and sampling of the arm, with these `NAME=VALUE` variables of the study."""
    study = load_study(path, dict(variable.split("=", 1) for variable in variables))
    [arm] = [each for each in study.arms if study.label(each) == label]
    found = {"model": arm.engine, "problems": study.problems, "split": study.split}
    found |= {"prompt": arm.prompt, "sampling": arm.sampling}
    return [part for name, value in found.items() for part in (f"--{name}", str(value))]


if __name__ == "__main__":
    print(shlex.join(options(*sys.argv[1:])))
