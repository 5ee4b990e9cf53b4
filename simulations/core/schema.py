"""What the configuration files share: laws, estimators, and errors of one line.

A configuration is checked as a whole before anything runs; the message names file, key and cure.
"""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from simulations.core.leaves import Leaves, read_leaves
from tea_stats.estimators import Estimator, lookup
from tea_stats.families import FAMILIES, Affine, Discrete, EmpiricalPool, FiniteLaw, Law, Recorded

Model = TypeVar("Model", bound=BaseModel)
#: the configurations that come with the studies
GRIDS = Path(__file__).parents[1] / "grids"
#: name and options of an estimator
Request = tuple[str, dict[str, Any]]

#: what `family` may name; an affine or recorded law has a law of its own as `base`
KNOWN: Mapping[str, type[Law]] = {**FAMILIES, "Affine": Affine, "Recorded": Recorded}


class Table(BaseModel):
    """A TOML table; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LawTable(BaseModel):
    """One `[laws."LABEL"]`: a family of `tea_stats`, and the family's parameters.

    `Discrete` takes `probabilities` in place of `logits`, `EmpiricalPool` a `file` (.npz with the
    arrays rewards and scores; relative to the configuration), `Leaves` one with the log-probability
    of each reward as logits, `Affine` and `Recorded` a table as `base`.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    family: str

    def law(self, folder: Path = Path()) -> Law:
        """Return the law; TypeError or ValueError if there is no such law."""
        settings = dict(self.model_extra or {})
        if self.family == "Leaves" and set(settings) == {"file"}:
            return read_leaves(folder / str(settings["file"]))
        if self.family not in KNOWN:
            raise ValueError(
                f"family is {self.family!r}, which is unknown; give one of {', '.join(KNOWN)}"
            )
        if self.family == "EmpiricalPool" and set(settings) == {"file"}:
            return _pool(folder / str(settings["file"]))
        if self.family == "Discrete" and set(settings) == {"values", "probabilities"}:
            return Discrete.from_probabilities(**settings)
        if self.family in ("Affine", "Recorded") and isinstance(settings.get("base"), dict):
            settings["base"] = LawTable.model_validate(settings["base"]).law(folder)
        takes = inspect.signature(KNOWN[self.family]).parameters
        unknown = [name for name in settings if name not in takes]
        if unknown:
            raise ValueError(
                f"{unknown[0]} is an unknown key; {self.family} takes {', '.join(takes)}"
            )
        needed = [name for name, p in takes.items() if p.default is p.empty]
        missing = [name for name in needed if name not in settings]
        if missing:
            raise ValueError(f"{', '.join(missing)} is missing; add it")
        return KNOWN[self.family](**settings)


class EstimatorTable(BaseModel):
    """One `[estimators."LABEL"]`: a name of `tea_stats.ESTIMATORS`, and options of it.

    `laws` and `m` restrict the estimator to these laws, by label, and to groups of these sizes;
    `reps` sets its own number of groups.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str
    laws: tuple[str, ...] | None = Field(None, min_length=1)
    m: tuple[int, ...] | None = Field(None, min_length=1)
    reps: dict[int, int] | None = None

    @model_serializer(mode="wrap")
    def _serialized(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = plain(self)
        return {key: x for key, x in content.items() if key != "m" or x is not None}

    @property
    def options(self) -> dict[str, Any]:
        """The estimator's options."""
        return dict(self.model_extra or {})

    def includes(self, law: str, m: int) -> bool:
        """Return whether the configuration has the estimator on this law, in groups of m."""
        return (self.laws is None or law in self.laws) and (self.m is None or m in self.m)

    def record(self) -> Estimator:
        """Return the estimator; TypeError or ValueError for an unknown name or option."""
        return lookup(self.name, self.options)


def _pool(path: Path) -> EmpiricalPool:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return EmpiricalPool(arrays["rewards"], arrays["scores"])
    except (OSError, KeyError) as error:
        raise ValueError(
            f"file {path}: {error}; give an .npz file with the arrays rewards and scores"
        ) from None


def law_columns(law: Law) -> dict[str, str]:
    """Return what identifies a law in a table: its family, and its constructor's arguments as JSON.

    Of a pool, whose arrays are in a file, the `key`.

    Examples
    --------
    >>> law_columns(FAMILIES["Normal"](loc=1.0))
    {'law_family': 'Normal', 'law_parameters': '{"loc": 1.0, "scale": 1.0}'}
    """
    return {"law_family": type(law).__name__, "law_parameters": json.dumps(_arguments(law))}


def _arguments(law: Law) -> dict[str, Any]:
    if isinstance(law, EmpiricalPool | Leaves):
        return {"key": law.key}
    arguments = {name: getattr(law, name) for name in inspect.signature(type(law)).parameters}
    for name, value in arguments.items():
        if isinstance(value, Law):
            arguments[name] = {"family": type(value).__name__, **_arguments(value)}
        elif isinstance(value, np.ndarray):
            arguments[name] = value.tolist()
    return arguments


def is_binary(law: Law) -> bool:
    """Return whether every reward is 0 or 1."""
    return isinstance(law, FiniteLaw) and bool(np.isin(law.rewards_sorted, (0.0, 1.0)).all())


class Configuration(Table):
    """A whole file: what studies of laws and estimators have in common."""

    seed: int = Field(ge=0)
    laws: dict[str, LawTable] = Field(min_length=1)
    estimators: dict[str, EstimatorTable] = Field(min_length=1)
    _folder: Path = PrivateAttr(Path())

    def model_post_init(self, context: Any) -> None:
        """Note the file's folder, to which the paths in it are relative."""
        self._folder = (context or {}).get("folder", Path())

    @cached_property
    def built(self) -> dict[str, Law]:
        """The laws by label; ValueError names the one that is wrong."""
        laws = {}
        for label, table in self.laws.items():
            try:
                laws[label] = table.law(self._folder)
            except (TypeError, ValueError) as error:
                raise ValueError(f'laws."{label}": {error}') from None
        return laws

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on: the configuration, with the contents of laws."""
        laws = {label: law.key for label, law in self.built.items()}
        return {**self.model_dump(mode="json"), "laws": laws}

    def check_estimators(self, cells: Collection[tuple[int, int]]) -> None:
        """Raise ValueError for an unknown estimator, option or law, naming the table.

        An estimator may be undefined at some of the (m, N) in `cells`, but not at all of them.
        """
        for label, table in self.estimators.items():
            unknown_m = sorted(set(table.m or ()) - {m for m, _ in cells})
            if unknown_m:
                raise ValueError(f'estimators."{label}": m has {unknown_m[0]}, which is not in m')
            own = [(m, N) for m, N in cells if table.m is None or m in table.m]
            reasons = [undefined(table, m, (N,)) for m, N in own]
            if all(reasons):
                raise ValueError(f'estimators."{label}": {reasons[-1]}')
            unknown = [law for law in table.laws or () if law not in self.laws]
            if unknown:
                raise ValueError(
                    f'estimators."{label}": laws has {unknown[0]!r}, which is not the label of a '
                    f"law here; give some of {', '.join(map(repr, self.laws))}"
                )

    def split(
        self, law: str, m: int, N: Iterable[int]
    ) -> tuple[dict[str, Request], dict[str, str]]:
        """Return the estimators of a law and m, and why others do not exist there, by label.

        Estimators of 0/1 rewards are in neither on another law.
        """
        exist, reasons = {}, {}
        for label, table in self.estimators.items():
            if not table.includes(law, m):
                continue
            reason = undefined(table, m, N)
            if reason:
                reasons[label] = reason
            elif is_binary(self.built[law]) or not table.record().binary:
                exist[label] = (table.name, table.options)
        return exist, reasons


def undefined(table: EstimatorTable, m: int, N: Iterable[int]) -> str:
    """Return why an estimator does not exist at this m for one of the N, or ""."""
    try:
        estimator = table.record()
        for budget in N:
            estimator.prepare(m, budget)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def located(path: Path) -> Path:
    """Return a configuration's file: the one named, else the one of that name that comes with us.

    Examples
    --------
    >>> located(Path("quick")) == GRIDS / "quick.toml"
    True
    """
    ours = GRIDS / f"{path.stem}.toml"
    named = path.suffix in ("", ".toml") and path.parent in (Path(), Path("simulations/grids"))
    return ours if named and not path.is_file() and ours.is_file() else path


def read(model: type[Model], path: Path) -> Model:
    """Read and check a configuration; ValueError with one line: file, key, what, cure."""
    path = located(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        reason = error.strerror or error
        ours = ", ".join(sorted(file.stem for file in GRIDS.glob("*.toml")))
        raise ValueError(f"{path}: {reason}; give a TOML file, or one of {ours}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    try:
        return model.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        raise ValueError(f"{path}: {first_problem(error, model)}") from None


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line for the first error, with its cure."""
    # a misspelt key is both unknown and missing; the user's mistake is the unknown one
    wrong = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in wrong["loc"])
    message = wrong["msg"].removeprefix("Value error, ")
    if wrong["type"] == "extra_forbidden":
        known = _known_keys(model, wrong["loc"][:-1])
        return f"{where} is an unknown key; give one of {', '.join(known)}"
    if wrong["type"] == "missing":
        return f"{where} is missing; add it"
    if wrong["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where} is {wrong['input']!r}; {message[:1].lower()}{message[1:]}"


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the table at a location, following optional sub-tables."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            break
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = [option for option in options if isinstance(option, type)]
        tables = [option for option in inner if issubclass(option, BaseModel)]
        if not tables:
            break
        model = tables[0]
    return list(model.model_fields)
