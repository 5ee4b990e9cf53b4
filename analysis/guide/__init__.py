"""The page "Which estimator when" of the documentation."""
