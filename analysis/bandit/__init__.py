"""Figures and tables of bandit training."""
