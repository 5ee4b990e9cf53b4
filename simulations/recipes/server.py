"""The reward server: a sequence classifier behind HTTP, in a process of its own.

POST /rate {"conversations": [[{"role": …, "content": …}, …], …]} → {"rewards": […], "tokens": n,
"seconds": s}; a reward that is not finite is null. GET / → what is served. A conversation is
written by the model's own chat template, and its reward does not depend on what is rated beside it,
rounding apart.

It listens on 127.0.0.1 unless another address is given; it has no password: whoever reaches it can
use it.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from simulations.lm import first_line
from simulations.recipes import models
from simulations.recipes.data import Message
from simulations.recipes.schema import Reward

#: a request of more bytes is refused
LARGEST = 256_000_000


class Rater:
    """A reward model and its tokenizer.

    Parameters
    ----------
    where, table
        What `from_pretrained` takes, and the model's configuration.
    device, dtype : str
        As torch names them, such as "cuda" and "bfloat16".
    """

    def __init__(self, where: str, table: Reward, device: str, dtype: str) -> None:
        self.table = table
        self.tokenizer = models.tokenizer(where)
        model = models.classifier(where, table, dtype=getattr(torch, dtype))
        self.model = model.to(device).eval().requires_grad_(False)
        self.lock = threading.Lock()
        count = sum(weight.numel() for weight in model.parameters())
        self.about = {
            "model": table.source,
            "revision": models.revision(where),
            "parameters": count,
            "dtype": dtype,
        }

    def rate(self, conversations: Sequence[Sequence[Message]]) -> tuple[list[float | None], int]:
        """Return the reward of each conversation, None if it is not finite, and all tokens."""
        spelled = [self._spell(place, turns) for place, turns in enumerate(conversations)]
        order = sorted(range(len(spelled)), key=lambda place: len(spelled[place]))
        rewards: list[float | None] = [None] * len(spelled)
        with self.lock:
            for batch in self._batches(order, spelled):
                values = self._values([spelled[place] for place in batch])
                for place, value in zip(batch, values, strict=True):
                    rewards[place] = value if math.isfinite(value) else None
        return rewards, sum(map(len, spelled))

    def _spell(self, place: int, turns: Sequence[Message]) -> list[int]:
        ids = self.tokenizer.apply_chat_template(list(turns), tokenize=True, return_dict=False)
        if len(ids) > self.table.longest:
            raise ValueError(
                f"conversation {place} has {len(ids)} tokens, more than {self.table.longest}; "
                "shorten it, or raise `longest` of the reward in the configuration"
            )
        return list(ids)

    def _batches(self, order: list[int], spelled: list[list[int]]) -> list[list[int]]:
        """Return places by length, as many at a time as make `micro_tokens` with their padding."""
        batches: list[list[int]] = []
        for place in order:
            longest = len(spelled[place])
            if batches and (len(batches[-1]) + 1) * longest <= self.table.micro_tokens:
                batches[-1].append(place)
            else:
                batches.append([place])
        return batches

    @torch.inference_mode()
    def _values(self, spelled: list[list[int]]) -> list[float]:
        config, longest = self.model.config, max(map(len, spelled))
        # transformers takes the last token that is not padding: where the model names no padding,
        # one that does not occur keeps the end of each conversation what it is on its own
        pad, own = config.pad_token_id, config.pad_token_id
        if own is None:
            used = {token for ids in spelled for token in ids}
            pad = next(token for token in range(config.vocab_size) if token not in used)
        ids = torch.tensor([x + [pad] * (longest - len(x)) for x in spelled])
        lengths = torch.tensor([[len(x)] for x in spelled])
        mask = (torch.arange(longest) < lengths).long()
        device = self.model.device
        config.pad_token_id = pad
        try:
            logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        finally:
            config.pad_token_id = own
        values: list[float] = logits[:, 0].float().tolist()
        return values


def serve(rater: Rater, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that listens; `serve_forever` answers."""
    try:
        server = ThreadingHTTPServer((host, port), _handler(rater))
    except OSError as error:
        raise ValueError(
            f"{host}:{port} cannot be listened on ({error.strerror}); give another --port"
        ) from None
    server.daemon_threads = True
    return server


def _handler(rater: Rater) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers one connection."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Say what is served."""
            self._answer(200, rater.about)

        def do_POST(self) -> None:
            """Rate conversations."""
            length = int(self.headers.get("Content-Length") or 0)
            if length > LARGEST:
                self.close_connection = True  # the rest of it is not read
                self._answer(413, {"error": f"{length} bytes; send fewer conversations at a time"})
                return
            body = self.rfile.read(length)
            begun = time.monotonic()
            try:
                rewards, tokens = rater.rate(conversations(body))
            except ValueError as error:
                self._answer(400, {"error": first_line(error)})
            # out of memory, say: the client hears of it, and tries again
            except Exception as error:
                self._answer(500, {"error": f"{type(error).__name__}: {first_line(error)}"})
            else:
                seconds = time.monotonic() - begun
                self._answer(200, {"rewards": rewards, "tokens": tokens, "seconds": seconds})

        def _answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent: a line a request would be thousands."""

    return Handler


def conversations(body: bytes) -> list[list[Message]]:
    """Return the conversations of a request; ValueError for anything else."""
    try:
        content = json.loads(body)["conversations"]
        assert content and all(content)
        return [[{"role": t["role"], "content": t["content"] + ""} for t in x] for x in content]
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
        raise ValueError(
            'not a request; send {"conversations": [[{"role": "user", "content": …}, …], …]}'
        ) from None
