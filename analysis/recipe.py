"""`python -m analysis.recipe`: the command of `analysis.lm.recipe`."""

import typer

from analysis.lm.recipe import main

if __name__ == "__main__":
    typer.run(main)
