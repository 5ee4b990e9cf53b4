"""Time one training step, ours and that of TRL's GRPOTrainer, on the same model and batch.

python -m simulations.lm_speed            ours alone, if trl is not installed
python -m simulations.lm_speed --tokens 24 --prompts 4 --m 16 --repeats 5

Both draw m completions of each prompt, rate them with the same function, and make one step of Adam
on the same low-rank adapters; both run in this process with the same number of threads, in turns.
The share of the limit is that of the matrix products alone (`simulations.lm.limit`).
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console

console = Console()


def ours(
    model: str, prompts: int, m: int, tokens: int, repeats: int, rows: int
) -> tuple[pd.DataFrame, dict[str, float], float]:
    """Return our steps' seconds and tokens; the limit's seconds; the system's share of CPU time."""
    from simulations.lm import limit, models, prompts as files, rewards, train
    from simulations.lm.schema import Adapter

    policy = models.load(model)
    models.adapt(policy, **Adapter().model_dump(), seed=0)
    course = train.Course(
        files.read("train"),
        prompts,
        repeats,
        tokens,
        seed=0,
        key=(0,),
        rows=prompts * m,
        train_rows=rows,
    )
    arm = train.Arm("tea", {}, m=m, N=128, rate=1e-6)
    begun = os.times()
    log = train.train(policy, arm, course, rewards.load("letters", policy))
    ended = os.times()
    system = ended.system - begun.system
    lengths = [len(x) for x in policy.encode(course.chosen(0), tokens)]
    products = limit.products(policy, lengths, m, tokens, rows)
    least = {part: limit.fastest(act) for part, act in products.items()}
    return log[["tokens", *train.TIMES]], least, system / (system + ended.user - begun.user)


def theirs(model: str, prompts: int, m: int, tokens: int, repeats: int, rows: int) -> list[float]:
    """Return the seconds of TRL's steps."""
    warnings.simplefilter("ignore")
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from simulations.lm import models, prompts as files
    from simulations.lm.schema import Adapter

    policy = models.load(model)
    policy.model.set_attn_implementation("sdpa")
    policy.model.requires_grad_(True)
    adapter = Adapter()
    depth = policy.model.config.num_hidden_layers

    def letters(completions: list[Any], **rest: Any) -> list[float]:
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        return [sum(x.isalpha() or x == " " for x in text) / max(1, len(text)) for text in texts]

    class Clock(TrainerCallback):
        """Notes when steps begin and end."""

        begun: float
        seconds: list[float] = []  # noqa: RUF012

        def on_step_begin(self, *arguments: Any, **settings: Any) -> None:
            Clock.begun = time.perf_counter()

        def on_step_end(self, *arguments: Any, **settings: Any) -> None:
            Clock.seconds.append(time.perf_counter() - Clock.begun)

    chats = [[{"role": "user", "content": prompt.text}] for prompt in files.read("train")]
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=max(1, prompts * m // rows),
            num_generations=m,
            max_completion_length=tokens,
            temperature=1.0,
            beta=0.0,
            learning_rate=1e-6,
            max_steps=repeats,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=policy.device.type == "cpu",
        )
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=letters,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": chats}),
            processing_class=policy.tokenizer,
            peft_config=LoraConfig(
                r=adapter.rank,
                lora_alpha=2 * adapter.rank,
                target_modules=list(adapter.targets),
                layers_to_transform=list(range(max(0, depth - adapter.layers), depth)),
                task_type="CAUSAL_LM",
            ),
            callbacks=[Clock()],
        )
        # the first batch is drawn before the first step begins: train() is timed as a whole
        begun = time.perf_counter()
        trainer.train()
        whole = time.perf_counter() - begun
    return [*Clock.seconds, whole]


def main(
    model: Annotated[str, typer.Option(help="As for validate_lm.")] = "smollm2",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts per step.")] = 4,
    m: Annotated[int, typer.Option(min=2, help="Rollouts per prompt.")] = 16,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens.")] = 24,
    repeats: Annotated[int, typer.Option(min=2, help="Steps of each.")] = 5,
    rows: Annotated[int, typer.Option(min=1, help="Rollouts side by side, training.")] = 32,
) -> None:
    """Time training steps, ours and TRL's."""
    arguments = (model, prompts, m, tokens, repeats, rows)
    log, least, system = ours(*arguments)
    # the first step warms up
    log = log.iloc[1:]
    parts = log.drop(columns="tokens")
    step = parts.sum(axis=1).median()
    for column, seconds in parts.median().items():
        name = str(column).removeprefix("seconds_")
        share = f"; share of the limit {least[name] / seconds:.0%}" if name in least else ""
        console.print(f"ours, {name}: {seconds:.4f} s{share}", highlight=False)
    alone = sum(least.values())
    console.print(
        f"ours: the products alone {alone:.2f} s, {alone / step:.0%} of a step; "
        f"{system:.0%} of CPU time is the system's",
        highlight=False,
    )
    speed = (log["tokens"] / log["seconds_sample"]).median()
    console.print(f"ours: {step:.2f} s a step, {speed:.0f} tokens/s", highlight=False)
    share = log["seconds_advantage"].median() / step
    console.print(f"estimator: {share:.3%} of a step", highlight=False)
    try:
        *_, whole = theirs(*arguments)
    except ImportError as error:
        console.print(f"{error.name} is not installed; pip install trl, to compare with it")
        return
    each = whole / repeats
    console.print(f"TRL: {each:.2f} s a step; ratio TRL / ours {each / step:.2f}")


if __name__ == "__main__":
    typer.run(main)
