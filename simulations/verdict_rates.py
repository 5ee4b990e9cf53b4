"""`python -m simulations.verdict_rates`: see `simulations.checks`."""

import typer

from simulations.checks.verdict_rates import main

if __name__ == "__main__":
    typer.run(main)
