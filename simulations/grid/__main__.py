"""`python -m simulations.grid`."""

import typer

from simulations.grid.run import main

if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
