"""A patient HTTP client for inference servers: a thread of its own, repeats where they are safe, a key that never shows."""
