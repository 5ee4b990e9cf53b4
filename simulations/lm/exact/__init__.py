"""Training of an enumerated policy: exact values, gradients and divergences along the way."""
