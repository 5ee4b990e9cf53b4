"""Real language models as policies: loading, rollouts, rewards, training, and pools of rollouts.

`train` is the training script and `engine` the decoder it samples with; `study` runs an arm for
each estimator. The commands are `python -m simulations.validate_lm` (training) and
`python -m simulations.lm_pool` (the gradient itself). They need `pip install 'tea-stats[lm]'`;
measuring existing pools needs no more than the other simulations.
"""

from importlib.metadata import PackageNotFoundError, version

INSTALL = "pip install 'tea-stats[lm]'"


def packages() -> dict[str, str]:
    """Return the versions of the packages that run language models."""
    versions = {}
    for name in ("torch", "transformers", "tokenizers", "peft"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
