"""`python -m analysis.linear_tables`: the command of `analysis.linear.tables`."""

import typer

from analysis.linear.tables import main

if __name__ == "__main__":
    typer.run(main)
