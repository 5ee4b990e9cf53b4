"""Training steps of TRL on a tiny random model, with rewards from a table, for the tests of `trl`.

`python -m torch.distributed.run --nproc_per_node 2 -m tests.trl_runs FOLDER` runs one on two
processes; each writes what it saw into the folder.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import trl
from accelerate import PartialState
from datasets import Dataset
from transformers.utils import logging
from trl import GRPOConfig

from simulations.lm import models
from tea_stats import Memory
from tea_stats.integrations.trl import BestOfNTrainer

#: of all processes together: three groups of four, so that two processes share the second
TABLE = np.random.default_rng(3).normal(size=12).round(3).tolist()
#: fewer than a generation batch needs, and TRL trains on nothing without a word
PROMPTS = ("a", "bc", "d e", "f?")
#: what two processes do: a rollout of the first is truncated, and one of the second in that group
CUT = (1, 6)
SPLIT = {
    "N": 32,
    "estimator": "adaptive_tea",
    "mask_truncated_completions": True,
    "script": [[5, 6, 7, 8] if i in CUT else [5, 6, 0] for i in range(12)],
}


class Recorder:
    """Mixed into a trainer: keeps the advantages that leave scoring, and those in the loss."""

    #: token ids of all completions, instead of drawn ones
    script: list[list[int]] | None = None

    def _generate_single_turn(self, prompt_ids, *rest):
        if self.script is None:
            return super()._generate_single_turn(prompt_ids, *rest)
        # TRL 0.29 returns a third value
        return share(self.script, prompt_ids), None, *({},) * trl.__version__.startswith("0.")

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.scored = [*getattr(self, "scored", []), output["advantages"].clone()]
        return output

    def _compute_loss(self, model, inputs):
        self.in_loss = [*getattr(self, "in_loss", []), inputs["advantages"].clone()]
        return super()._compute_loss(model, inputs)


class Recorded(Recorder, BestOfNTrainer):
    """The trainer under test."""


def share(values, like):
    """Return this process's part of a list, as long as another."""
    start = PartialState().process_index * len(like)
    return list(values[start : start + len(like)])


def table(values, name="table"):
    """Return a reward function that gives each rollout its entry of a list, wherever it is."""

    def rewards(completions, **columns):
        return share(values, completions)

    rewards.__name__ = name
    return rewards


def trainer(
    kind, reward_funcs, m=4, batch=12, script=None, model=None, prompts=PROMPTS, **settings
):
    """Return a trainer of some kind for one step; settings are TRL's or the trainer's own."""
    own = {
        key: settings.pop(key)
        for key in ("N", "estimator", "estimator_options", "unit_rms", "memory") & settings.keys()
    }
    logging.set_verbosity_error()
    tiny, tokenizer = models.tiny()
    tokenizer.pad_token = "<unknown>"
    arguments = {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": batch,
        "num_generations": m,
        "max_completion_length": 4,
        "max_steps": 1,
        "logging_steps": 1,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    dataset = Dataset.from_dict({"prompt": list(prompts)})
    built = kind(
        model=tiny if model is None else model,
        reward_funcs=reward_funcs,
        args=GRPOConfig(**{**arguments, **settings}),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=tokenizer,
        **own,
    )
    built.script = script
    return built


def main(folder):
    """Train for one step on this process's share of the table, and write what was seen."""
    built = trainer(Recorded, table(TABLE), batch=6, **SPLIT)
    built.train()
    seen = {
        "scored": built.scored[0],
        "in_loss": built.in_loss[0],
        "logged": torch.tensor(list(built._logs["advantages"])),
        "processes": torch.tensor(built.accelerator.num_processes),
    }
    learns = trainer(Recorded, table(TABLE), batch=6, N=32, memory=Memory())
    learns.train()
    seen["memory"] = json.dumps(learns.memory.state_dict())
    torch.save(seen, Path(folder) / f"{built.accelerator.process_index}.pt")
    # one that leaves while another still speaks to it may end in an abort
    built.accelerator.wait_for_everyone()
    built.accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1])
