"""The reward function that verl loads from this file: asks the reward server, many at a time.

verl calls it once for each rollout, side by side; calls that come within a moment go to the server
as one request.
"""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

from tea_stats._studies import reach

reach()  # verl's workers do not know where the studies are

from simulations.recipes.client import Client  # noqa: E402
from simulations.recipes.data import Message  # noqa: E402
from simulations.recipes.schema import Reward  # noqa: E402

#: seconds in which calls are gathered
MOMENT = 0.05


class Gathered:
    """Calls that wait to be sent together."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.waiting: list[tuple[list[Message], asyncio.Future[float | None]]] = []

    async def rate(self, conversation: list[Message]) -> float | None:
        """Return the reward of a conversation, once a request with it has been answered."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[float | None] = loop.create_future()
        self.waiting.append((conversation, answer))
        if len(self.waiting) == 1:
            loop.call_later(MOMENT, lambda: loop.create_task(self._send()))
        return await answer

    async def _send(self) -> None:
        sent, self.waiting = self.waiting, []
        try:
            rewards = await asyncio.to_thread(self.client.rate, [x for x, _ in sent])
        except Exception as error:
            for _, answer in sent:
                answer.set_exception(error)
        else:
            for (_, answer), reward in zip(sent, rewards, strict=True):
                answer.set_result(reward)


@cache
def gathered(file: str) -> Gathered:
    """Return the client of a reward's file, one for each process."""
    table = Reward.model_validate(json.loads(Path(file).read_text(encoding="utf-8")))
    client = Client(table)
    client.check()
    return Gathered(client)


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any],
    file: str,
    **others: Any,
) -> float:
    """Return a rollout's reward, NaN if it has none; the form is verl's."""
    conversation = json.loads(extra_info["messages"])
    answer = {"role": "assistant", "content": solution_str}
    reward = await gathered(file).rate([*conversation, answer])
    return float("nan") if reward is None else reward
