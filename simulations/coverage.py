"""`python -m simulations.coverage`: see `simulations.checks`."""

import typer

from simulations.checks.coverage import main

if __name__ == "__main__":
    typer.run(main)
