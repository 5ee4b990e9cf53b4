"""The estimators inside trainers: TRL, verl, SkyRL, slime and rLLM.

| module | what it gives | where the trainer asks for it |
|---|---|---|
| `trl` | `BestOfNTrainer`, a `GRPOTrainer` | in place of `GRPOTrainer` |
| `verl` | names for `algorithm.adv_estimator` | found by itself, through an entry point |
| `skyrl` | `register(estimator, N)` | `trainer.algorithm.advantage_estimator` |
| `rllm` | `register(estimator, N)` | `rllm.algorithm.adv_estimator` |
| `slime` | `reward_post_process(args, samples)` | `--custom-reward-post-process-path` |

Importing this package loads none of them, nor torch; each module says which versions of its trainer
it was tested with. All follow one rule for rollouts that give no reward: a group is evaluated as
the smaller group that is left, and one too small for the estimator gets advantage 0.
`docs/trainers.md` shows each at work.
"""
