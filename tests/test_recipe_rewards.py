"""The reward server and its client: rewards as the model's page has them, troubles as one line."""

from __future__ import annotations

import json
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import requests
import torch

from simulations.core import schema
from simulations.recipes import data, models, server
from simulations.recipes.client import Client, Unreachable
from simulations.recipes.schema import Prompts, Recipe

pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("recipe")]

DRY = schema.read(Recipe, Path("recipe_dry"))
LABELS = list(DRY.rewards)
#: of many lengths, one of them empty, as an answer that ends at once
ANSWERS = ["yes", "", "a longer answer", "?", "no. " * 20, "yes", "x" * 61]
TALK = [
    [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": answer}]
    for answer in ANSWERS
]


@pytest.fixture(scope="module", params=LABELS)
def rater(request, tmp_path_factory):
    table = DRY.rewards[request.param]
    where = models.place(table, request.param, tmp_path_factory.mktemp("models"))
    return server.Rater(where, table, "cpu", "float32")


@contextmanager
def listening(made):
    """Give the address of a server that answers meanwhile."""
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}"
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def table(*urls, **changes):
    return DRY.rewards[LABELS[0]].model_copy(update={"urls": urls, **changes})


def alone(rater, turns, pad):
    """Return a conversation's reward without padding, as on the models' pages."""
    rater.model.config.pad_token_id = pad
    text = rater.tokenizer.apply_chat_template(turns, tokenize=False)
    ids = rater.tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        return rater.model(**ids).logits[0, 0].item()


# --- the server -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pad", ["own", "none", "end"])
def test_rewards_do_not_depend_on_what_is_rated_beside(rater, pad, monkeypatch):
    config, tokenizer = rater.model.config, rater.tokenizer
    token = {"own": config.pad_token_id, "none": None, "end": tokenizer.eos_token_id}[pad]
    monkeypatch.setattr(config, "pad_token_id", token)
    expected = [alone(rater, turns, token) for turns in TALK]
    assert max(expected) - min(expected) > 0.05
    rewards, tokens = rater.rate(TALK)
    assert rewards == pytest.approx(expected, abs=1e-5)
    assert config.pad_token_id == token
    assert tokens == sum(
        len(tokenizer(tokenizer.apply_chat_template(x, tokenize=False))["input_ids"]) for x in TALK
    )


def test_batches_have_no_more_tokens_than_allowed(rater, monkeypatch):
    sizes = []
    forward = rater.model.forward
    monkeypatch.setattr(
        rater.model, "forward", lambda **x: sizes.append(x["input_ids"].shape) or forward(**x)
    )
    whole, _ = rater.rate(TALK)
    assert len(sizes) == 1
    monkeypatch.setattr(rater, "table", rater.table.model_copy(update={"micro_tokens": 100}))
    parts, _ = rater.rate(TALK)
    assert len(sizes) > 2 and all(a * b <= 100 or a == 1 for a, b in sizes[1:])
    assert parts == pytest.approx(whole, abs=1e-5)


def test_a_reward_that_is_not_finite_is_missing(rater, monkeypatch):
    monkeypatch.setattr(rater, "_values", lambda ids: [math.nan, math.inf, *[1.0] * (len(ids) - 2)])
    rewards, _ = rater.rate(TALK)
    assert sum(reward is None for reward in rewards) == 2
    with listening(server.serve(rater, "127.0.0.1", 0)) as url:
        client = Client(table(url))
        assert client.rate(TALK).count(None) == 2 and client.used.missing == 2


def test_a_conversation_that_is_too_long_is_named(rater, monkeypatch):
    monkeypatch.setattr(rater, "table", rater.table.model_copy(update={"longest": 60}))
    with pytest.raises(ValueError, match=r"conversation 4 has \d+ tokens, more than 60"):
        rater.rate(TALK)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"conversations": []}',
        b'{"conversations": [[]]}',
        b'{"conversations": [[{"role": "user"}]]}',
        b'{"conversations": [[{"role": "user", "content": 3}]]}',
        b'{"conversations": 3}',
        b"\xff",
    ],
)
def test_what_is_no_request_is_refused(rater, body):
    with listening(server.serve(rater, "127.0.0.1", 0)) as url:
        answer = requests.post(f"{url}/rate", data=body, timeout=10)
    assert answer.status_code == 400 and "not a request; send" in answer.json()["error"]


def test_a_port_in_use_is_one_line(rater):
    with listening(server.serve(rater, "127.0.0.1", 0)) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ValueError, match=f"127.0.0.1:{port} cannot be listened on"):
            server.serve(rater, "127.0.0.1", port)


# --- the client -----------------------------------------------------------------------------------


def test_rewards_come_in_order_from_several_servers(rater):
    expected, tokens = rater.rate(TALK)
    first, second = (server.serve(rater, "127.0.0.1", 0) for _ in range(2))
    with listening(first) as one, listening(second) as two:
        client = Client(table(one, two, batch=2))
        assert client.rate(TALK) == pytest.approx(expected, abs=1e-5)
    assert client.used.conversations == len(TALK) and client.used.tokens == tokens
    assert client.used.seconds > 0


def test_the_wrong_model_is_refused(rater):
    with listening(server.serve(rater, "127.0.0.1", 0)) as url:
        mine = rater.table.model_copy(update={"urls": (url,)})
        Client(mine).check()
        for change in ({"source": "Skywork/Another"}, {"inner": 128}):
            with pytest.raises(
                Unreachable, match="serves 'random' of .* and the configuration has"
            ):
                Client(mine.model_copy(update=change)).check()


class Scripted(BaseHTTPRequestHandler):
    """Gives the answers of a list, one after the other, and counts requests."""

    answers: list[tuple[int, bytes]]
    asked = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.answers[min(type(self).asked, len(self.answers) - 1)]
        type(self).asked += 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *arguments):
        pass


@contextmanager
def scripted(*answers):
    handler = type("Mine", (Scripted,), {"answers": list(answers), "asked": 0})
    with listening(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        yield url, handler


GOOD = json.dumps({"rewards": [1.5, None], "tokens": 7, "seconds": 0.1}).encode()
TWO = TALK[:2]


def test_a_server_that_fails_for_a_moment_is_tried_again():
    with scripted((503, b"{}"), (500, b'{"error": "memory"}'), (200, GOOD)) as (url, handler):
        assert Client(table(url, retries=2), pause=0.01).rate(TWO) == [1.5, None]
        assert handler.asked == 3


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([(500, b'{"error": "OutOfMemoryError: CUDA"}')], "OutOfMemoryError: CUDA"),
        ([(400, b'{"error": "conversation 0 has 9999 tokens"}')], "has 9999 tokens"),
        ([(200, b"<html>")], "is no reward server"),
        ([(200, b"[1]")], "is no reward server"),
        ([(200, b'{"rewards": [1.0], "tokens": 3}')], "did not answer with 2 rewards"),
        ([(200, b'{"rewards": 1.0}')], "did not answer with 2 rewards"),
    ],
)
def test_a_wrong_answer_is_one_line_with_the_address(answers, message):
    with scripted(*answers) as (url, handler), pytest.raises(Unreachable) as error:
        Client(table(url, retries=1), pause=0.01).rate(TWO)
    assert url in str(error.value) and message in str(error.value)
    assert "\n" not in str(error.value)
    # only what may pass by itself is tried again
    assert handler.asked == (2 if answers[0][0] == 500 else 1)


def test_nobody_at_the_address_is_one_line():
    with scripted((200, GOOD)) as (url, _):
        pass
    for client in (Client(table(url, retries=1), pause=0.01),):
        with pytest.raises(Unreachable, match=r"does not answer \(ConnectionError, 2 tries\)"):
            client.rate(TWO)
        with pytest.raises(Unreachable, match="recipe serve` there and wait for its line, or"):
            client.check()


def test_a_server_that_hangs_is_given_up():
    class Hanging(Scripted):
        def do_POST(self):
            over.wait(20)

    over = threading.Event()
    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Hanging)) as url:
        with pytest.raises(Unreachable, match="does not answer"):
            Client(table(url, retries=0, timeout_s=0.2)).rate(TWO)
        over.set()


# --- prompts --------------------------------------------------------------------------------------

DIALOGUE = Prompts(train="train", heldout="test", form="dialogue", column="chosen")


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("\n\nHuman: Hi\n\nAssistant: Yes", ["user"]),
        (
            "\n\nHuman: Hi\n\nAssistant: Yes\n\nHuman: So?\n\nAssistant: No",
            ["user", "assistant", "user"],
        ),
        ("\n\nHuman: Hi\n\nAssistant: Yes\n\nHuman: So?", ["user", "assistant", "user"]),
        ("\n\nHuman: Is this\n\nHuman: x\n\nAssistant: a", []),  # two in a row
        ("\n\nAssistant: I begin\n\nHuman: x", []),
        ("\n\nHuman: \n\nAssistant: nothing was asked", []),
        ("before\n\nHuman: x\n\nAssistant: y", []),
        ("", []),
    ],
)
def test_a_transcript_ends_with_the_user(text, roles):
    turns = data.messages(DIALOGUE, text)
    assert [turn["role"] for turn in turns] == roles
    assert data.usable(DIALOGUE, text) == bool(roles)


def recipe(prompts, train=4, heldout=3):
    label = "ours"
    scenarios = {
        name: scenario.model_copy(update={"prompts": label})
        for name, scenario in DRY.scenarios.items()
    }
    return DRY.model_copy(
        update={
            "prompts": {label: prompts},
            "scenarios": scenarios,
            "training": DRY.training.model_copy(update={"prompts": train}),
            "evaluation": DRY.evaluation.model_copy(update={"prompts": heldout}),
        }
    )


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Let `datasets` keep its copies where the test ends."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_data_set_is_read_and_kept(tmp_path, own_cache):
    folder = tmp_path / "set"
    folder.mkdir()
    talks = [f"\n\nHuman: Question {i}?\n\nAssistant: Answer {i}" for i in range(9)]
    long = "\n\nHuman: " + "é" * 1100 + "\n\nAssistant: yes"
    for split, texts in (("train", [*talks, talks[0], long]), ("test", [*talks[:6], talks[2]])):
        lines = [json.dumps({"chosen": text, "rejected": "x"}) for text in texts]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    table = DIALOGUE.model_copy(update={"source": str(folder)})
    study = recipe(table)
    chosen = data.chosen(study, "ours", tmp_path / "out")
    train, heldout = data.part(chosen, "train"), data.part(chosen, "heldout")
    assert len(train) == 4 and len(heldout) == 3
    # in both splits, and yet in one part only
    assert not set(chosen[chosen["part"] == "train"]["text"]) & set(
        chosen[chosen["part"] == "heldout"]["text"]
    )
    assert len(set(chosen["id"])) == 7 and all(turns[-1]["role"] == "user" for _, turns in train)
    # the source may change or go: what was chosen stays
    (folder / "train.jsonl").unlink()
    assert data.chosen(study, "ours", tmp_path / "out").equals(chosen)
    with pytest.raises(ValueError, match='prompts."ours" has 3 prompts for train of at most 2048'):
        (folder / "train.jsonl").write_text((folder / "test.jsonl").read_text())
        data.chosen(recipe(table, train=40), "ours", tmp_path / "other")


@pytest.mark.parametrize("change", [{"source": "missing"}, {"column": "x"}, {"heldout": "x"}])
def test_a_data_set_that_is_not_there_is_one_line(change, tmp_path, own_cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"chosen": "x"}\n')
    content = {"source": str(tmp_path / "set"), "heldout": "train", **change}
    if change.get("source"):
        content["source"] = str(tmp_path / "missing")
    table = DIALOGUE.model_copy(update=content)
    with pytest.raises(ValueError, match=r"cannot be read \(.*give a data set of the Hub") as error:
        data.chosen(recipe(table), "ours", tmp_path / "out")
    assert "\n" not in str(error.value)
