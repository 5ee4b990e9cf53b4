"""`python -m analysis.guide`: the command of `analysis.guide.page`."""

import typer

from analysis.guide.page import main

if __name__ == "__main__":
    typer.run(main)
