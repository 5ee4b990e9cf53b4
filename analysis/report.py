"""`python -m analysis.report`: the command of `analysis.grid.report`."""

import typer

from analysis.grid.report import main

if __name__ == "__main__":
    typer.run(main)
