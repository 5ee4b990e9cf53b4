"""`python -m simulations.grid`."""

import typer

from simulations.grid.run import main

if __name__ == "__main__":
    typer.run(main)
