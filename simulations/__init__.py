"""What is run: grids, bandits, language models, checks. Everything here writes results."""
