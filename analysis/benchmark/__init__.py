"""Figures and tables of the benchmark: batches of prompts on many laws."""
