"""Pools of a language model's rollouts, each a law with an exact best-of-N gradient."""
