"""From solutions to a step reward: labels of their steps, and what is fitted to them."""
