"""The league of batches: estimators on batches as they are in training, against exact gradients."""

from simulations.batches.evaluation import evaluate

__all__ = ["evaluate"]
