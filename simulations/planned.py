"""`python -m simulations.planned`: see `simulations.checks`."""

import typer

from simulations.checks.planned import main

if __name__ == "__main__":
    typer.run(main)
