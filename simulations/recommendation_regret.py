"""`python -m simulations.recommendation_regret`: see `simulations.checks`."""

import typer

from simulations.checks.recommendation_regret import main

if __name__ == "__main__":
    typer.run(main)
