"""The process that test_kill.py starts and kills: one small study on the scripted engine, run or resumed."""

import sys

from isoflop.studies.run import Run
from isoflop.studies.study_file import load_study

if __name__ == "__main__":
    study_file, folder = sys.argv[1:]
    print("up", flush=True)
    Run.create(load_study(study_file), folder).execute(command="kill_driver")
