"""`python -m analysis.lm_training`: the command of `analysis.lm.training`."""

import typer

from analysis.lm.training import main

if __name__ == "__main__":
    typer.run(main)
