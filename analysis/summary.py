"""`python -m analysis.summary`: the command of `analysis.grid.summary`."""

import typer

from analysis.grid.summary import main

if __name__ == "__main__":
    typer.run(main)
