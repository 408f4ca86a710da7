"""Tables and figures of a run: what it holds, read once, compared as it was declared, shown for people and machines."""
