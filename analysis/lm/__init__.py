"""Figures and tables of the language-model studies."""
