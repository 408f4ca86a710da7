"""Training of thoughts on any text: data, places to think at, the loop with its checkpoints.

train(Training(model="DIR", data="text.jsonl", out="runs/thoughts", steps=100))

Zelikman et al. 2024 (arXiv 2403.09629).
"""
