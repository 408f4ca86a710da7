"""Exact cost: what a model's shape makes every token cost, and a ledger in which each operation is charged once."""
