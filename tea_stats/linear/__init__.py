"""Estimators that are linear in the sorted rewards: tableaux, designs, a library of tails."""

from tea_stats.linear.design import TAILS, LinearDesign, linear_tea_design

__all__ = ["LinearDesign", "TAILS", "linear_tea_design"]
