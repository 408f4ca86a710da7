"""Writes the study that the table of the log is read off: python study.py MODELS OUT N PROBLEMS N_AHEAD."""

import sys

models, out, n, probs, na = sys.argv[1:6]
E = "context_tokens=384, memory_gb=1.0, threads=1, max_live=256"
th = lambda extra="": f"quietstar('{models}/thoughts', n_ahead={na}, think='boundary', thoughts='sampled', {E}{extra})"
S = lambda t: f"sampling(temperature={t}, max_tokens=256, answer_tokens=4)"
R = f"trunk('{models}/thoughts-reward')"
arms = [("T greedy", th(f", readout='{models}/thoughts-reward'"), "greedy()", None, 1.0)]
for k in (1, 2, 4, 8, 16):
    arms.append((f"T w{k}", th(), f"weighted_vote(n={k})", R, 1.0))
arms += [
    ("T maj16", th(), "self_consistency(n=16)", R, 1.0),
    ("T best4", th(), "best_of_n(n=4)", R, 1.0),
    ("T best16", th(), "best_of_n(n=16)", R, 1.0),
]
for k in (2, 4, 8):
    arms.append((f"C rebase{k}", th(), f"rebase(width={k})", R, 1.0))
arms += [
    ("C.7 rebase4", th(), "rebase(width=4)", R, 0.7),
    ("C beam1x2", th(), "beam(width=1, expand=2)", R, 0.7),
    ("C beam1x4", th(), "beam(width=1, expand=4)", R, 1.0),
    ("C ctl.05", th(), "controller(lambda_=0.05)", R, 0.7),
]
with open(out, "w") as f:
    f.write(f'''name = "explore"
problems = "{probs}"
split = "dev"
seeds = [0]
prompt = "plain(step_end=['= '], answer_prefix='\\\\n#### ')"
reference = "T greedy"
concurrency = 100
''')
    for name, model, strategy, reward, t in arms:
        f.write(
            f'\n[[arms]]\nname = "{name}"\nmodel = "{model}"\nstrategy = "{strategy}"\nsampling = "{S(t)}"\n'
            + (f'reward = "{reward}"\n' if reward else "")
        )
