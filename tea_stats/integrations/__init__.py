"""The estimators inside trainers: TRL, verl and SkyRL.

| module | what it gives | how the trainer gets it |
|---|---|---|
| `trl` | `BestOfNTrainer`, a `GRPOTrainer` | in place of `GRPOTrainer` |
| `verl` | values of `algorithm.adv_estimator` | by itself, through an entry point |
| `skyrl` | `register(estimator, N)` | `trainer.algorithm.advantage_estimator` |
| `groups` | `batch_advantages(name, rewards, groups, N)` | in an adapter of your own |

Importing this package loads none of them, nor torch; each module states which versions of its
trainer it was tested with. All follow one rule for rollouts that give no reward: a group is
evaluated as the smaller group that is left, and one too small for the estimator gets advantage 0.
`docs/trainers.md` shows each at work, with adapters for rLLM and slime.
"""
