"""isoflop: the instrument for compute-optimal LLM problem solving."""

__version__ = "0.1.0"
