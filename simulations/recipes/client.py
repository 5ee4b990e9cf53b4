"""The reward client: asks the servers of `simulations.recipes.server`, in requests of some size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from simulations.recipes import sizes
from simulations.recipes.data import Message
from simulations.recipes.schema import Reward

#: what is worth another try: the server starts, or is out of memory for a moment
AGAIN = (500, 502, 503, 504)


class Unreachable(ValueError):
    """A server did not answer, or not with rewards: one line with its address and the cure."""


@dataclass
class Used:
    """What the servers have done for a client: conversations, tokens, and seconds on the clock."""

    conversations: int = 0
    missing: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Client:
    """A reward model that is served apart.

    Parameters
    ----------
    table : Reward
        Addresses, size of a request, timeout and retries. Requests go to the addresses in turns.
    pause : float
        Seconds before a second try; each further pause is twice as long.
    """

    def __init__(self, table: Reward, pause: float = 1.0) -> None:
        self.table, self.used = table, Used()
        # every try counts, whether the connection or the answer failed
        retry = Retry(
            total=table.retries,
            backoff_factor=pause,
            status_forcelist=AGAIN,
            allowed_methods=None,
            raise_on_status=False,
        )
        self.session = requests.Session()
        # a server of this machine is not behind the proxy that the environment may name
        self.session.trust_env = False
        adapter = HTTPAdapter(max_retries=retry, pool_maxsize=len(table.urls))
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, adapter)

    def check(self) -> list[dict[str, Any]]:
        """Return what each server serves; Unreachable if one does not, or another model."""
        abouts = []
        for url in self.table.urls:
            about = self._ask("GET", url)
            served = about.get("model"), about.get("parameters")
            ours = self.table.source, sizes.parameters(self.table)
            if served != ours:
                raise Unreachable(
                    f"{url} serves {served[0]!r} of {served[1]} parameters and the configuration "
                    f"has {ours[0]!r} of {ours[1]}; start the right one there, or give another "
                    "address in urls"
                )
            abouts.append(about)
        return abouts

    def rate(self, conversations: Sequence[Sequence[Message]]) -> list[float | None]:
        """Return the reward of each conversation, None where it is not a finite number."""
        size, urls = self.table.batch, self.table.urls
        parts = [conversations[i : i + size] for i in range(0, len(conversations), size)]
        begun = time.monotonic()
        with ThreadPoolExecutor(len(urls)) as pool:
            places = [urls[i % len(urls)] for i in range(len(parts))]
            rated = list(pool.map(self._part, parts, places))
        rewards = [reward for part, _ in rated for reward in part]
        self.used.conversations += len(rewards)
        self.used.missing += rewards.count(None)
        self.used.tokens += sum(tokens for _, tokens in rated)
        self.used.seconds += time.monotonic() - begun
        return rewards

    def _part(
        self, conversations: Sequence[Sequence[Message]], url: str
    ) -> tuple[list[float | None], int]:
        answer = self._ask("POST", f"{url}/rate", {"conversations": list(map(list, conversations))})
        rewards, tokens = answer.get("rewards"), answer.get("tokens")
        fit = isinstance(rewards, list) and len(rewards) == len(conversations)
        if not fit or not isinstance(tokens, int):
            raise Unreachable(
                f"{url} did not answer with {len(conversations)} rewards; start "
                "`tea-stats recipe serve` there"
            )
        return rewards, tokens

    def _ask(self, method: str, url: str, content: Any = None) -> dict[str, Any]:
        try:
            answer = self.session.request(method, url, json=content, timeout=self.table.timeout_s)
            body = answer.json()
        except requests.exceptions.JSONDecodeError:
            body = None
        except requests.exceptions.RequestException as error:
            reason = type(error).__name__
            raise Unreachable(
                f"{url} does not answer ({reason}, {self.table.retries + 1} tries); start "
                "`tea-stats recipe serve` there and wait for its line, or give another address in "
                "urls"
            ) from None
        if not isinstance(body, dict):
            raise Unreachable(f"{url} is no reward server; give another address in urls")
        if answer.status_code != 200:
            raise Unreachable(f"{url}: {body.get('error', answer.status_code)}")
        return body
