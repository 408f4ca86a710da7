"""Rewards: what says how good a step is. Names are resolved lazily."""

REGISTRY = {
    "logprob": "isoflop.rewards.logprob:LogProb",
    "random": "isoflop.rewards.random:Random",
    "oracle": "isoflop.rewards.oracle:Oracle",
    "math_shepherd": "isoflop.rewards.step_tokens:MathShepherd",
    "rlhflow": "isoflop.rewards.step_tokens:RlhFlow",
    "skywork": "isoflop.rewards.step_heads:Skywork",
    "qwen_prm": "isoflop.rewards.step_heads:QwenPrm",
    "token_prm": "isoflop.rewards.step_heads:TokenPrm",
    "outcome": "isoflop.rewards.outcome:OutcomeModel",
    "trunk": "isoflop.rewards.trunk:Trunk",
    "judge": "isoflop.rewards.judge:Judge",
    "ensemble": "isoflop.rewards.ensemble:Ensemble",
    "noisy": "isoflop.rewards.noisy:Noisy",
    "served": "isoflop.rewards.served:Served",
    "imported": "isoflop.studies.imported:ImportedReward",
}
