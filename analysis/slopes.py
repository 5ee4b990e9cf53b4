"""`python -m analysis.slopes`: the command of `analysis.grid.slopes`."""

import typer

from analysis.grid.slopes import main

if __name__ == "__main__":
    typer.run(main)
