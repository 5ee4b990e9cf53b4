"""`python -m simulations.batches`."""

import typer

from simulations.batches.run import main

if __name__ == "__main__":
    typer.run(main)
