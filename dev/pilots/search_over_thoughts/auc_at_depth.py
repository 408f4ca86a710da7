"""How well a stored arm's rewards tell right from wrong: of final steps in a problem, and of steps at equal depth.

python auc_at_depth.py RUN "T best16"
"""

import sys

import numpy as np

from isoflop.api import Run
from isoflop.reward_training.from_run import steps_to

r = Run.open(sys.argv[1])
arm = sys.argv[2]


def auc(p, n):
    p, n = np.array(p), np.array(n)
    return ((p[:, None] > n).mean() + 0.5 * (p[:, None] == n).mean()) if len(p) and len(n) else float("nan")


fin = []
step = []
ex = []
for rec in r.attempts:
    if rec.arm != arm:
        continue
    P = [rec.nodes[c.node].reward for c in rec.candidates if c.outcome == "correct"]
    N = [rec.nodes[c.node].reward for c in rec.candidates if c.outcome != "correct"]
    if P and N:
        fin.append(auc(P, N))
        b = max(rec.candidates, key=lambda c: rec.nodes[c.node].reward)
        if b.outcome != "correct" and len(ex) < 4:
            ex.append(
                (
                    rec.problem.question,
                    rec.problem.meta["solution"],
                    "|".join(s.text for s in steps_to(rec, b.node)),
                    rec.nodes[b.node].reward,
                    max(P),
                )
            )
    a, bb = {}, {}
    for c in rec.candidates:
        text = ""
        st = steps_to(rec, c.node)
        place = c.node
        rw = []
        while place is not None:
            rw.append(rec.nodes[place].reward)
            place = rec.nodes[place].parent
        rw = rw[::-1]
        for i, s in enumerate(st[:-1]):
            text += s.text
            (a if rec.problem.meta["solution"].startswith(text) else bb).setdefault(i, []).append(rw[i])
    for i in a:
        if i in bb:
            step.append(auc(a[i], bb[i]))
print("final AUC within problem", np.nanmean(fin), len(fin), "step AUC within depth", np.nanmean(step), len(step))
for e in ex[:3]:
    print(*e, sep="\n")
    print("---")
