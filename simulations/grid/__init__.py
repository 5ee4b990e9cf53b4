"""The simulation grid: bias and variance of every estimator against the exact gradient."""
