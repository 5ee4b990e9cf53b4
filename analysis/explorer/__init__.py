"""One HTML page to explore a grid with."""
