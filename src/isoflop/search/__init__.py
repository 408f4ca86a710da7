"""Strategies, one file each, and the driver that runs them. Names are resolved lazily."""

REGISTRY = {
    "greedy": "isoflop.search.greedy:Greedy",
    "self_consistency": "isoflop.search.self_consistency:SelfConsistency",
    "adaptive_consistency": "isoflop.search.adaptive_consistency:AdaptiveConsistency",
    "best_of_n": "isoflop.search.best_of_n:BestOfN",
    "weighted_vote": "isoflop.search.weighted_vote:WeightedVote",
    "beam": "isoflop.search.beam:Beam",
    "retry": "isoflop.search.retry:Retry",
    "controller": "isoflop.search.controller:Controller",
    "dvts": "isoflop.search.dvts:DVTS",
    "particle_filter": "isoflop.search.particle_filter:ParticleFilter",
    "mcts": "isoflop.search.mcts:MCTS",
    "budget_forcing": "isoflop.search.budget_forcing:BudgetForcing",
    "rollouts": "isoflop.search.rollouts:Rollouts",
    "published_vote": "isoflop.search.published:PublishedVote",
    "published_rebase": "isoflop.search.published:PublishedRebase",
    "rebase": "isoflop.search.rebase:Rebase",
}
