"""One of several processes that train thoughts together, as a launcher starts it: train_worker.py RUNS KILLED_AFTER.

RUNS are settings as JSON. The first worker kills itself after that step, where it is not 0.
"""

import json
import os
import signal
import sys

from isoflop.quietstar.training.loop import train
from isoflop.quietstar.training.settings import Training


def told(line):
    if line["step"] == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    for run in json.loads(sys.argv[1]):
        train(Training(**run), told)
