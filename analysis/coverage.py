"""`python -m analysis.coverage`: the command of `analysis.checks.coverage`."""

import typer

from analysis.checks.coverage import main

if __name__ == "__main__":
    typer.run(main)
