"""`python -m analysis.lm_pool`: the command of `analysis.lm.pools`."""

import typer

from analysis.lm.pools import main

if __name__ == "__main__":
    typer.run(main)
