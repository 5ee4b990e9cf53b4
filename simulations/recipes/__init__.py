"""The experiment of arXiv:2605.10716 for whoever has a card: plan, training, evaluation.

One TOML (`simulations/grids/recipe.toml`) names policies, reward models, prompts and arms.

- `plan` computes memory, tokens and hours before anything is rented, and `check` compares a few
  real steps with it.
- `server` rates answers over HTTP, in a process of its own; `client` asks it.
- `training` trains a run with TRL, `verl` writes verl's command line for the same run.
- `evaluate` draws held-out rollouts with vLLM (or transformers), `tables` summarises them for
  `analysis.recipe`.

The commands are `python -m simulations.recipes …`, or `tea-stats recipe …`. Planning needs
`pip install 'tea-stats[sim]'`, all else `pip install 'tea-stats[recipe]'`.
"""

from importlib.metadata import PackageNotFoundError, version

INSTALL = "pip install 'tea-stats[recipe]'"


def packages() -> dict[str, str]:
    """Return the versions of the packages that train, rate and draw."""
    versions = {}
    for name in ("torch", "transformers", "peft", "trl", "vllm"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions
