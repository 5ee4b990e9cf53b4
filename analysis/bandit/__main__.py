"""`python -m analysis.bandit`: the command of `analysis.bandit.report`."""

import typer

from analysis.bandit.report import main

if __name__ == "__main__":
    typer.run(main)
