"""`python -m analysis.real_logs`: the command of `analysis.checks.real_logs`."""

import typer

from analysis.checks.real_logs import main

if __name__ == "__main__":
    typer.run(main)
