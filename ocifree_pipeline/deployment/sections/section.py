"""What all sections share, and the kinds of values that several of them use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from ocifree_pipeline.deployment.objection import Objection, refuse

T = TypeVar("T")


class Section(BaseModel):
    """Frozen, strict about types, and closed: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_not_written(cls, data: object) -> object:
        """`hunt:` with every line under it commented out is the same as no `hunt` at all."""
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


# YAML gives lists, the frozen models keep tuples.
Several = Annotated[tuple[T, ...], Strict(False)]


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Annotates a type with a check of our own and with what JSON Schema can say about it."""

    check: Callable[[Any], Objection | None]
    json: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), **self.json}

    def _validate(self, value: Any) -> Any:
        objection = self.check(value)
        if objection is not None:
            raise refuse(objection)
        return value


@dataclass(frozen=True, slots=True, eq=False)
class ReadBy:
    """Annotates a type with the function that makes it from what YAML gives, and with what JSON Schema can say."""

    read: Callable[[object], Any]
    json: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read, serialization=core_schema.to_string_ser_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.json)


def matching(pattern: str, why: str, fix: str) -> Checked:
    compiled = re.compile(pattern)

    def check(value: str) -> Objection | None:
        return None if compiled.fullmatch(value) else Objection(why, fix)

    return Checked(check, {"pattern": f"^(?:{pattern})$"})


def between(low: float, high: float | None, because: str) -> Checked:
    """A number from `low` to `high`, with the reason for the bounds."""
    wanted = f"write a number from {low} to {high}" if high is not None else f"write {low} or more"

    def check(value: float) -> Objection | None:
        if value < low:
            return Objection(f"below {low}: {because}", wanted)
        if high is not None and value > high:
            return Objection(f"above {high}: {because}", wanted)
        return None

    return Checked(check, {"minimum": low} | ({} if high is None else {"maximum": high}))


def whole(because: str) -> BeforeValidator:
    """For numbers of which people do write fractions: they get the reason, and not "wrong type"."""

    def check(value: Any) -> Any:
        if isinstance(value, float):
            lower = max(1, int(value))
            raise refuse(Objection(because, f"write {lower} or {lower + 1}"))
        return value

    return BeforeValidator(check)


def at_least_one(what: str, fix: str) -> Checked:
    def check(value: tuple[Any, ...]) -> Objection | None:
        return None if value else Objection(f"the list is empty, and {what}", fix)

    return Checked(check, {"minItems": 1})


def without_repeats() -> Checked:
    def check(value: tuple[Any, ...]) -> Objection | None:
        twice = [str(item) for position, item in enumerate(value) if item in value[:position]]
        return Objection("an entry stands there twice", "keep one of the two") if twice else None

    return Checked(check, {"uniqueItems": True})


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

Hostname = Annotated[
    str,
    matching(
        rf"({_LABEL}\.)+{_LABEL}",
        "not a host name: small letters, digits and hyphens in parts joined by dots",
        "write a full name such as lab.example.org",
    ),
]
Email = Annotated[
    str,
    matching(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", "not an e-mail address", "write an address such as you@example.org"),
]
HttpsUrl = Annotated[
    str,
    matching(
        r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/\S*)?",
        "not an https address",
        "write a full address that begins with https://",
    ),
]
KubernetesName = Annotated[
    str,
    matching(
        _LABEL,
        "not a Kubernetes name: at most 63 small letters, digits and hyphens, with a letter or digit at both ends",
        "write a name such as web-apps",
    ),
]
