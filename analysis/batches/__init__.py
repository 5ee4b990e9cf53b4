"""From results of `simulations.batches` to tables and a figure, development and held-out apart."""
