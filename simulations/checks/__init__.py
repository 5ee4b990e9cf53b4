"""How often predictions, verdicts and recommendations from a log are right."""
