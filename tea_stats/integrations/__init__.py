"""The estimators inside trainers; `docs/trainers.md` shows each at work.

| module | what it gives | how the trainer gets it |
|---|---|---|
| `trl` | `BestOfNTrainer`, a `GRPOTrainer` | in place of `GRPOTrainer` |
| `trl_programs` | `trainer_class`, `install` | in Axolotl, Oumi: programs on TRL |
| `verl` | values of `algorithm.adv_estimator` | by itself, through an entry point |
| `prime_rl` | `algorithm(estimator, N)` | an entry of `ALGORITHM_CLASSES` |
| `openrlhf`, `nemo_rl`, `roll` | `register(estimator, N)` | in the script that starts it |
| `skyrl`, `rllm`, `tinker` | `register(estimator, N)` | the same, and its configuration |
| `ms_swift` | `register(estimator, N)` | `--external_plugins` |
| `slime` | `reward_post_process` | `--custom-reward-post-process-path` |

An adapter of your own needs one call: of `groups.batch_advantages`, where each sample has a label
of its group, and perhaps of its rollout; of `groups.nested_advantages`, where the batch is a list
of groups; or of `recent.RecentGroups`, where groups come one at a time.

Importing this package loads none of them, nor torch; each module states which version of its
trainer it was tested with. All follow one rule for rollouts that give no reward: a group is
evaluated as the smaller group that is left, and one too small for the estimator gets advantage 0.
"""
