"""How far a bootstrap over five training seeds can be trusted, if seeds are all that varies and there is no difference.

python recipes/laboratory/claim/few_seeds.py
"""

import numpy as np

STUDIES, SEEDS, RESAMPLES = 20_000, 5, 3000


def main() -> None:
    """Print how often p is below 0.01, alone and with the sign rule, and what a 95% interval covers."""
    rng = np.random.default_rng(0)
    shares = rng.multinomial(SEEDS, np.full(SEEDS, 1 / SEEDS), size=RESAMPLES) / SEEDS
    by_seed = rng.normal(size=(STUDIES, SEEDS))
    means = by_seed @ shares.T
    small = ((means <= 0).sum(axis=1) + 1) / (RESAMPLES + 1) < 0.01
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    print(f"p < 0.01: {small.mean():.3f}; with the same sign: {(small & (by_seed > 0).all(axis=1)).mean():.3f}")
    print(f"a 95% interval covers: {((low < 0) & (high > 0)).mean():.3f}")


if __name__ == "__main__":
    main()
