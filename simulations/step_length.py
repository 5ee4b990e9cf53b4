"""`python -m simulations.step_length`: see `simulations.checks`."""

import typer

from simulations.checks.step_length import main

if __name__ == "__main__":
    typer.run(main)
