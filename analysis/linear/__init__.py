"""Figures and tables of linear designs."""
