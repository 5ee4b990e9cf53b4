"""The estimators on torch tensors, inside a training loop: `advantages` and the loss they enter.

::

    from tea_stats import torch_bridge

    a = torch_bridge.advantages("tea", rewards, N=128)      # rewards (prompts, rollouts)
    torch_bridge.policy_gradient_loss(logprobs, a, mask).backward()

`import tea_stats` does not load this package. It is the only part of the library that needs torch.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "tea_stats.torch_bridge needs torch, which is not installed: pip install 'tea-stats[torch]'"
    ) from error

from tea_stats.torch_bridge._advantages import advantages
from tea_stats.torch_bridge._loss import policy_gradient_loss

__all__ = ["advantages", "policy_gradient_loss"]
