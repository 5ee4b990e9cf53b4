"""`python -m simulations.recipes`: the commands of `simulations.recipes.command`."""

from simulations.recipes.command import app

if __name__ == "__main__":
    app()
