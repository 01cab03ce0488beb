"""What a wire body must look like, derived from the model classes of the installed ``oci`` package.

The package says of each field its JSON name, its type and (in the documentation of the property) whether it is
required; constants of the class name the values of an enum; ``get_subtype`` picks a subclass by a discriminator.
A schema is compiled once per class; no model object is ever made from a request.
"""

import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Literal

from ocifree_pipeline.sandbox import clock
from ocifree_pipeline.sandbox.oracle import errors

REQUIRED = "**[Required]**"
LIST = re.compile(r"list\[(.+)\]")
DICT = re.compile(r"dict\(str, (.+)\)")

UNDOCUMENTED = {"oci.core.models.CreateImageDetails": {"launchOptions": "LaunchOptions"}}
"""Fields that the service takes although the package's model has no such attribute."""

ABSENT_IN_LIFE = frozenset({("oci.core.models.Image", "compartmentId")})
"""Fields that the package calls required and that the service leaves out: a platform image is in no compartment."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a body, and where."""

    kind: Literal["unknown", "missing", "type", "enum"]
    path: str
    message: str


Check = Callable[[Any, str], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    required: bool
    check: Check
    enum: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Schema:
    model: str
    fields: dict[str, Field]
    subtype: Callable[[dict[str, Any]], str] | None


def validate(model: str, body: Any) -> Any:
    """The body without nulls (null means "not given"), or Oracle's 400 for the first thing that is wrong."""
    for problem in problems(model, body):
        raise (
            errors.missing_parameter(problem.path)
            if problem.kind == "missing"
            else errors.invalid_parameter(problem.message)
        )
    return _without_nulls(body)


def problems(model: str, body: Any) -> Iterator[Problem]:
    """Everything wrong with ``body`` as a ``model`` such as ``oci.core.models.Vcn`` or ``list[oci.core.models.Vcn]``.

    Serves requests, and replies in tests: what the sandbox answers must be what the client's models expect.
    """
    yield from _expression(model)(body, "")


def known_attributes(model: str) -> frozenset[str]:
    """The JSON names that a model knows; subclasses of a discriminated model know more."""
    return frozenset(_schema(model).fields)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value


@lru_cache(maxsize=4096)
def _schema(model: str) -> Schema:
    package, _, name = model.rpartition(".")
    cls = getattr(importlib.import_module(package), name)
    empty = cls()
    enums = _enums(cls, empty.swagger_types)
    fields = {
        json_name: Field(
            json_name,
            REQUIRED in (getattr(cls, attribute).__doc__ or "") and (model, json_name) not in ABSENT_IN_LIFE,
            _expression(empty.swagger_types[attribute], package),
            enums.get(attribute, frozenset()),
        )
        for attribute, json_name in empty.attribute_map.items()
    }
    for json_name, kind in UNDOCUMENTED.get(model, {}).items():
        fields[json_name] = Field(json_name, False, _expression(kind, package))
    return Schema(model, fields, cls.__dict__["get_subtype"].__func__ if "get_subtype" in cls.__dict__ else None)


def _enums(cls: type, types: dict[str, str]) -> dict[str, frozenset[str]]:
    """Enum values per attribute: the constant LIFECYCLE_STATE_X belongs to the longest attribute that begins it."""
    found: dict[str, set[str]] = {}
    attributes = sorted((one for one, kind in types.items() if kind in {"str", "list[str]"}), key=len, reverse=True)
    for constant in dir(cls):  # those of base classes too: kinds of a discriminated model inherit its enums
        value = getattr(cls, constant) if constant.isupper() else None
        if not isinstance(value, str):
            continue
        owner = next((one for one in attributes if constant.startswith(one.upper() + "_")), None)
        if owner:
            found.setdefault(owner, set()).add(value)
    return {attribute: frozenset(values) for attribute, values in found.items()}


@lru_cache(maxsize=4096)
def _expression(kind: str, package: str = "") -> Check:
    if match := LIST.fullmatch(kind):
        return _list_of(_expression(match[1], package))
    if match := DICT.fullmatch(kind):
        return _dict_of(_expression(match[1], package))
    if kind in PRIMITIVES:
        return PRIMITIVES[kind]
    model = kind if "." in kind else f"{package}.{kind}"
    return _model_check(model) if _exists(model) else PRIMITIVES["str"]


def _exists(model: str) -> bool:
    """The package names some enums, such as DnsHealthCheckRCodes, that it has no class for: they are texts."""
    package, _, name = model.rpartition(".")
    return hasattr(importlib.import_module(package), name)


def _list_of(inner: Check) -> Check:
    def check(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, list):
            yield _wrong_type(path, "a list", value)
            return
        for at, one in enumerate(value):
            yield from inner(one, f"{path}[{at}]")

    return check


def _dict_of(inner: Check) -> Check:
    def check(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, dict):
            yield _wrong_type(path, "an object", value)
            return
        for name, one in value.items():
            yield from inner(one, f"{path}.{name}".lstrip("."))

    return check


def _model_check(model: str) -> Check:
    def check(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, dict):
            yield _wrong_type(path, "an object", value)
            return
        schema, problem = _concrete(model, value, path)
        if problem:
            yield problem
            return
        for name in value.keys() - schema.fields.keys():
            yield Problem("unknown", _join(path, name), f"Unrecognized field: {_join(path, name)}")
        for field in schema.fields.values():
            given = value.get(field.name)
            where = _join(path, field.name)
            if given is None:
                if field.required:
                    yield Problem("missing", where, f"{where} is required but was not given")
                continue
            broken = list(field.check(given, where))
            yield from broken
            if field.enum and not broken:
                yield from _enum_problems(field, given, where)

    return check


def _concrete(model: str, value: dict[str, Any], path: str) -> tuple[Schema, Problem | None]:
    """Follow discriminators down to the class that describes this value."""
    schema = _schema(model)
    while schema.subtype is not None:
        try:
            name = schema.subtype(value)
        except KeyError as error:
            where = _join(path, str(error.args[0]))
            return schema, Problem("missing", where, f"{where} is required but was not given")
        package, _, base = schema.model.rpartition(".")
        if name == base:
            return schema, Problem("enum", path or base, f"{path or base} has a type that is not one of its kinds")
        schema = _schema(f"{package}.{name}")
    return schema, None


def _enum_problems(field: Field, given: Any, where: str) -> Iterator[Problem]:
    for one in given if isinstance(given, list) else [given]:
        if one not in field.enum:
            allowed = ", ".join(sorted(field.enum))
            yield Problem("enum", where, f"{where} has invalid value {one!r}; it must be one of: {allowed}")


def _primitive(description: str, fits: Callable[[Any], bool]) -> Check:
    def check(value: Any, path: str) -> Iterator[Problem]:
        if not fits(value):
            yield _wrong_type(path, description, value)

    return check


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(clock.parse(value))
    except ValueError:
        return False


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


PRIMITIVES: dict[str, Check] = {
    "str": _primitive("a string", lambda value: isinstance(value, str)),
    "bool": _primitive("a boolean", lambda value: isinstance(value, bool)),
    "int": _primitive("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": _primitive("a number", _is_number),
    "datetime": _primitive("a date and time (RFC 3339)", _is_moment),
    "date": _primitive("a date", _is_date),
    "object": _primitive("any value", lambda _value: True),
}


def _wrong_type(path: str, expected: str, value: Any) -> Problem:
    return Problem("type", path, f"{path or 'body'} must be {expected}, not {type(value).__name__}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
