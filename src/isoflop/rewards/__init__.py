"""Rewards: what says how good a step is. Names are resolved lazily."""

REGISTRY = {
    "logprob": "isoflop.rewards.logprob:LogProb",
    "random": "isoflop.rewards.random:Random",
    "oracle": "isoflop.rewards.oracle:Oracle",
    "imported": "isoflop.studies.imported:ImportedReward",
}
