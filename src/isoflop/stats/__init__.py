"""Statistics for paired, budget-matched comparisons: thin names over scipy and statsmodels, which load on first use."""
