"""Real language models as policies: loading, rollouts, rewards, score sketches, training.

The commands are `python -m simulations.lm_pool` (the gradient itself) and
`python -m simulations.validate_lm` (training). They need `pip install 'tea-stats[lm]'`; measuring
pools that are there needs no more than the other simulations.
"""

from importlib.metadata import PackageNotFoundError, version


def packages() -> dict[str, str]:
    """Return the versions of the packages that run language models."""
    found = {}
    for name in ("torch", "transformers", "tokenizers", "peft"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
