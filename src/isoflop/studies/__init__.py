"""Studies: what is compared with what, the records that stay, the runner, and the plan before it."""
