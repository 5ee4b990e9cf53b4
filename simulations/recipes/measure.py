"""The most memory that a process and its card had in use, looked at twice a second."""

from __future__ import annotations

import resource
import threading
from types import TracebackType

import torch

#: seconds between two looks
PAUSE = 0.5


class Peak:
    """A context that measures; of a card, what is in use beyond what was in use before.

    Attributes
    ----------
    value : int
        Bytes. On the CPU: the most that the process has had so far.
    """

    def __init__(self, device: str) -> None:
        self.device, self.value = device, 0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look_again, daemon=True)

    def __enter__(self) -> Peak:
        self._before = 0 if self.device == "cpu" else self._used()
        self.look()
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._watch.join()
        self.look()

    def look(self) -> None:
        """Compare what is in use now with the most so far."""
        self.value = max(self.value, self._used() - self._before)

    def _look_again(self) -> None:
        while not self._over.wait(PAUSE):
            self.look()

    def _used(self) -> int:
        if self.device == "cpu":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        free, total = torch.cuda.mem_get_info()
        return total - free
