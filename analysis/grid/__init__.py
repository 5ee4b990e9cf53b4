"""Figures and tables of the simulation grid."""
