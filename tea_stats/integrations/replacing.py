"""Put a function of ours where a trainer looks for its own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def replace(home: ModuleType, name: str, value: Any, callers: Iterable[str] = ()) -> None:
    """Replace a function in its module, and where modules that are loaded have its name.

    Parameters
    ----------
    home : module
        Where the trainer defines it; what is imported from there later is the replacement.
    name : str
        Its name.
    value : object
        The replacement.
    callers : iterable of str
        Modules that import the name from `home`.

    Raises
    ------
    RuntimeError
        If `home` has no such name: another version of the trainer.
    """
    if not hasattr(home, name):
        raise RuntimeError(
            f"{home.__name__} has no {name}: this version makes its advantages elsewhere; install "
            "the version that docs/trainers.md names, or report this one to tea_stats"
        )
    for module in (home, *(sys.modules.get(caller) for caller in callers)):
        if hasattr(module, name):
            setattr(module, name, value)


class _WhenImported(MetaPathFinder):
    """Runs an action on one module, directly after its import."""

    def __init__(self, name: str, action: Callable[[ModuleType], None]) -> None:
        self.name, self.action = name, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.action(module)

            loader.exec_module = exec_module
        return spec


def when_imported(name: str, action: Callable[[ModuleType], None]) -> None:
    """Run an action on a module, now if it is loaded, and else directly after its import.

    Parameters
    ----------
    name : str
        The module, which need not exist.
    action : callable
        Gets the module.
    """
    if name in sys.modules:
        action(sys.modules[name])
    else:
        sys.meta_path.insert(0, _WhenImported(name, action))
