"""`python -m analysis.explorer`: the command of `analysis.explorer.page`."""

import typer

from analysis.explorer.page import main

if __name__ == "__main__":
    typer.run(main)
