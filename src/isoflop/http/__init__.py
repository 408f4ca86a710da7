"""A patient HTTP client for inference servers: its own thread, repeats where they are safe, a key that never shows."""
