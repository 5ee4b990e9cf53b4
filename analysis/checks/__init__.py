"""Tables of the checks: how often predictions are right."""
