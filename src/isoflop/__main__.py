"""`python -m isoflop` is the command line."""

from isoflop.cli.main import run

if __name__ == "__main__":
    run()
