"""`python -m simulations.bandit`."""

import typer

from simulations.bandit.run import main

if __name__ == "__main__":
    typer.run(main)
