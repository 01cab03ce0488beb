"""Turn what pydantic found into problems that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.objection import OBJECTION, Objection
from ocifree_pipeline.deployment.paths import Path, spelled
from ocifree_pipeline.deployment.secret_literals import masked, names_a_secret, secret_kind

_LONGEST_VALUE = 60

_WANTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a section of keys",
    "dict_type": "a section of keys",
}


def place_of(error: ErrorDetails) -> Path:
    """Where the error is. A bad key of a free mapping is reported at that key."""
    return tuple(part for part in error["loc"] if part != "[key]")


def objections_in(error: ErrorDetails) -> Iterator[Objection]:
    """The error in our own words, with full paths."""
    place = place_of(error)
    if error["type"] == OBJECTION:
        for objection in error["ctx"]["objections"]:
            yield Objection(
                objection.why,
                objection.fix,
                at=(*place, *objection.at),
                involves=tuple((*place, *path) for path in objection.involves),
                value=objection.value,
            )
        return
    why, fix = _explained(error, place)
    yield Objection(why, fix, at=place)


def shown(value: Any, path: Path) -> str:
    """The value, short and on one line; never a secret, nor what stands where a secret belongs."""
    if isinstance(value, Mapping):
        return f"a section of {len(value)} key{'s' if len(value) != 1 else ''}" if value else "an empty section"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if any(isinstance(part, str) and names_a_secret(part) for part in path) or secret_kind(text):
        return masked(text)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def missing(place: Path) -> tuple[str, str]:
    """Why and fix for a key that has to be there."""
    parent = _model_at(place[:-1])
    info = parent.model_fields[str(place[-1])] if parent else None
    why = "required, and not written"
    if info and info.examples:
        return why, f"add it, for example `{place[-1]}: {_flow(info.examples[0])}`"
    inner = _as_model(info.annotation) if info else None
    needed = [name for name, each in inner.model_fields.items() if each.is_required()] if inner else []
    return why, f"add `{place[-1]}:` with {_listed(needed)} under it"


def _explained(error: ErrorDetails, place: Path) -> tuple[str, str]:
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return missing(place)
    if kind == "extra_forbidden":
        return "unknown key", _where_it_may_belong(place)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'|(\d+)", error["ctx"]["expected"])
        return _not_a_choice(value, [text or number for text, number in choices])
    if kind == "finite_number":
        return "not a number to count with", "write a number"
    if kind in _WANTED:
        return _wrong_type(kind, value, place)
    return error["msg"], "see docs/declaration.md for what this key takes"


def _wrong_type(kind: str, value: Any, place: Path) -> tuple[str, str]:
    why = f"{_what_it_is(value)}, where {_WANTED[kind]} belongs"
    name = place[-1] if place else ""
    if kind == "string_type" and isinstance(value, bool):
        return why, "put it in quotes; YAML reads yes, no, on and off as true and false"
    if kind == "string_type" and isinstance(value, int | float):
        return why, "put it in quotes"
    if kind in ("int_type", "float_type") and isinstance(value, str) and re.fullmatch(r"[0-9.]+", value):
        return why, "write the number without quotes"
    if kind == "bool_type":
        return why, "write true or false, without quotes"
    if kind == "tuple_type":
        return why, f"write a list: `{name}: [...]`, or one line with a hyphen for each entry"
    if kind == "model_type":
        model = _model_at(place)
        return why, f"write its keys under it, indented: {_listed(list(model.model_fields) if model else [])}"
    return why, f"write {_WANTED[kind]}"


def _what_it_is(value: Any) -> str:
    for types, what in (
        (bool, "true or false"),
        (int, "a number"),
        (float, "a number with a fraction"),
        (str, "text"),
        (list, "a list"),
        (Mapping, "a section of keys"),
    ):
        if isinstance(value, types):
            return what
    return "nothing"


def _not_a_choice(value: Any, choices: list[str]) -> tuple[str, str]:
    if len(choices) == 1:
        return "this is fixed", f"write {choices[0]}, or leave it out"
    near = get_close_matches(str(value), choices, n=1)
    return f"not one of {_listed(choices, 'or')}", f"write {near[0] if near else _listed(choices, 'or')}"


def _where_it_may_belong(place: Path) -> str:
    model, key = _model_at(place[:-1]), str(place[-1])
    known = list(model.model_fields) if model else []
    near = get_close_matches(key, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    elsewhere = _places_of_keys().get(key, ())
    if len(elsewhere) == 1:
        return f"it belongs at {elsewhere[0]}"
    where = spelled(place[:-1]) if len(place) > 1 else "the file"
    return f"remove it; {where} takes {_listed(known)}"


@cache
def _places_of_keys() -> Mapping[str, tuple[str, ...]]:
    """Where each key of the declaration belongs. Keys of list entries have no one place."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(model: type[BaseModel], path: Path) -> None:
        for name, info in model.model_fields.items():
            found[name] = (*found.get(name, ()), spelled((*path, name)))
            inner = _as_model(info.annotation)
            if inner:
                walk(inner, (*path, name))

    walk(Declaration, ())
    return found


def _model_at(path: Path) -> type[BaseModel] | None:
    """The model that describes what stands at `path`."""
    annotation: Any = Declaration
    for part in path:
        annotation = _entry(_bare(annotation), part)
    return _as_model(annotation)


def _entry(annotation: Any, part: str | int) -> Any:
    """What describes the entry of a section, a list or a free mapping."""
    model = _as_model(annotation)
    if model:
        info = model.model_fields.get(str(part))
        return info.annotation if info else None
    return {tuple: get_args(annotation)[:1], dict: get_args(annotation)[1:]}.get(get_origin(annotation), (None,))[0]


def _as_model(annotation: Any) -> type[BaseModel] | None:
    bare = _bare(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _bare(annotation: Any) -> Any:
    """`X` of `X | None` and of annotated forms."""
    if hasattr(annotation, "__metadata__"):
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return next(_bare(option) for option in get_args(annotation) if option is not type(None))
    return annotation


def _listed(words: list[str], last: str = "and") -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def _flow(value: Any) -> str:
    """An example as it is written in YAML, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) and re.fullmatch(r"[0-9.]+", value) else str(value)
