"""What columns are usually called; the first of several that a log has is taken."""

from __future__ import annotations

PROMPT = (
    "prompt", "prompts", "prompt_id", "prompt_idx", "problem_id", "question_id", "task_id",
    "example_id", "doc_id", "instance_id", "query_id", "item_id", "problem", "question", "query",
    "instruction", "input", "inputs", "messages", "conversation", "task", "task_name", "uid",
    "group_id", "group", "group_index", "name", "id", "key", "prompt_token_ids", "prompt_ids",
)  # fmt: skip
REWARD = (
    "reward", "rewards", "total_reward", "reward_total", "final_reward", "reward_score",
    "reward_sum", "overall_reward", "score", "scores", "total_score", "final_score", "passed",
    "correct", "is_correct", "symbolic_correct", "judge_correct", "success", "solved", "resolved",
    "pass", "acc", "accuracy",
    "exact_match", "return", "returns", "episode_reward", "grade", "graded_list", "plus_status",
    "base_status", "results", "correctness", "result", "outcome", "verdict", "rating", "status",
)  # fmt: skip
#: columns that hold rewards, or what identifies the prompt, by name
HOLDERS = (
    "metrics",
    "metric",
    "evaluation",
    "eval",
    "metadata",
    "meta",
    "info",
    "extra_info",
    "extra",
    "sample",
    "item",
    "doc",
    "data",
    "output",
    "outputs",
    "judge",
    "grading",
)
#: columns that hold the rollouts of a prompt, an object each
ROLLOUTS = (
    "samples",
    "rollouts",
    "completions",
    "generations",
    "responses",
    "outputs",
    "candidates",
    "attempts",
    "trajectories",
    "answers",
    "solutions",
    "trials",
    "choices",
)
#: inside a column that holds several rewards by name
TOTAL = ("total", "reward", "total_reward", "overall", "final", "sum", "score", "value")
STEP = (
    "step", "global_step", "global_steps", "training_step", "train_step", "trainer_step",
    "gen_step", "iteration", "iter", "policy_step", "_step", "trainer/global_step", "checkpoint",
    "checkpoint_step",
)  # fmt: skip
ROLLOUT = (
    "rollout_id", "rollout_idx", "rollout_index", "completion_id", "completion_idx",
    "completion_index", "generation_id", "generation_idx", "sample_id", "sample_idx",
    "sample_index", "response_id", "response_idx", "trajectory_id", "traj_id", "attempt_id",
    "attempt", "trial_id", "request_id", "uuid",
)  # fmt: skip
COMPLETION = (
    "completion", "completions", "response", "responses", "output", "outputs", "generation",
    "generations", "generated_text", "output_text", "model_output", "rollout", "trajectory",
    "solution", "resps",
)  # fmt: skip
#: numbers that are no rewards, where every column of numbers would be taken for rollouts
NO_ROLLOUT = {
    *STEP, *ROLLOUT, "index", "idx", "epoch", "seed", "id", "row", "n", "rank", "timestamp",
    "time", "level_0", "length", "tokens", "num_tokens", "cost", "mean", "std", "min", "max",
    "median", "average", "avg", "sum", "total", "count", "var", "variance", "sem", "stderr",
    "pass_rate", "success_rate", "solve_rate", "difficulty", "level", "year",
}  # fmt: skip
#: what may differ between rollouts of one prompt that are not draws of one policy
POLICY = {
    "model", "model_name", "model_id", "model_path", "policy", "policy_name", "checkpoint_name",
    "generator", "engine", "temperature", "top_p", "method", "algorithm", "variant", "split",
    "epoch", "model_name_or_path", "judge", "turn",
}  # fmt: skip
#: pairs of columns that count rollouts and those that succeeded
COUNTS = (
    ("n", "c"), ("num_samples", "num_correct"), ("n_samples", "n_correct"), ("n", "correct"),
    ("n", "num_correct"), ("n", "n_correct"), ("total", "correct"), ("total", "passed"),
    ("num_total", "num_correct"), ("num_samples", "correct"), ("num_samples", "num_passed"),
    ("n_samples", "correct"), ("samples", "correct"), ("samples", "passed"),
    ("attempts", "correct"), ("attempts", "successes"), ("trials", "successes"),
    ("n", "successes"), ("n", "passed"),
    ("n", "k"), ("num_attempts", "num_correct"), ("n_total", "n_correct"),
)  # fmt: skip
