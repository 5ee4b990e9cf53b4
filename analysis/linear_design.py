"""`python -m analysis.linear_design`: the command of `analysis.linear.designs`."""

import typer

from analysis.linear.designs import main

if __name__ == "__main__":
    typer.run(main)
