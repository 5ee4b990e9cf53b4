"""Real language models as policies: loading, rollouts, rewards, score sketches, training.

The commands are `python -m simulations.lm_pool` (the gradient itself) and
`python -m simulations.validate_lm` (training). They need `pip install 'tea-stats[lm]'`.
"""
