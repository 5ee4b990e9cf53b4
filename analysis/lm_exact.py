"""`python -m analysis.lm_exact`: the command of `analysis.lm.exact`."""

import typer

from analysis.lm.exact import main

if __name__ == "__main__":
    typer.run(main)
