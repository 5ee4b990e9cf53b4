"""`python -m simulations.real_logs`: see `simulations.checks.real_logs`."""

import typer

from simulations.checks.real_logs import main

if __name__ == "__main__":
    typer.run(main)
