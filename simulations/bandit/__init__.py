"""Softmax bandits trained for best-of-N."""
