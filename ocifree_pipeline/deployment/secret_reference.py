"""Where a secret is kept. The declaration holds only such references, never the secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.secret_literals import masked

Scheme = Literal["env", "sops", "vault"]

_PATTERNS: dict[Scheme, str] = {
    "env": r"[A-Za-z_][A-Za-z0-9_]*",
    "sops": r"[^#\s]+#[A-Za-z0-9_][A-Za-z0-9_.-]*",
    "vault": r"[A-Za-z0-9][A-Za-z0-9_./-]*",
}
PATTERN = "^(" + "|".join(f"{scheme}:{rest}" for scheme, rest in _PATTERNS.items()) + ")$"
FORMS = "env:NAME, sops:FILE#KEY or vault:KEY"

# `secret:NAME` stands for what the section `secrets` says under that name.
NAME = r"[a-z][a-z0-9_]{0,62}"
_BY_NAME = re.compile(rf"secret:({NAME})")
PATTERN_OR_NAME = f"{PATTERN}|^secret:{NAME}$"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """`env:NAME`, `sops:FILE#KEY` or `vault:KEY`."""

    scheme: Scheme
    name: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"

    @property
    def file(self) -> str:
        """The encrypted file of a `sops` reference."""
        return self.name.partition("#")[0]

    @property
    def key(self) -> str:
        """The key inside the file of a `sops` reference; elsewhere the name itself."""
        return self.name.rpartition("#")[2]

    @classmethod
    def parse(cls, text: str) -> SecretRef | None:
        """The reference that `text` spells; None when it spells none."""
        if not re.fullmatch(PATTERN, text):
            return None
        scheme, _, name = text.partition(":")
        return cls(cast("Scheme", scheme), name)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": PATTERN_OR_NAME, "format": "secret-reference"}

    @classmethod
    def _validate(cls, value: object) -> SecretRef:
        if isinstance(value, SecretRef):
            return value
        reference = cls.parse(value) if isinstance(value, str) else None
        if reference is None:
            raise refuse(objection_to(value))
        return reference


def objection_to(value: object) -> Objection:
    """Why a value that is not a reference cannot stand for one."""
    hidden = masked(str(value)) if isinstance(value, str | int | float) else None
    if isinstance(value, str) and _BY_NAME.fullmatch(value):
        return Objection(
            "`secrets` has no entry of that name to take here",
            "add one under `secrets`, or correct the name",
            value=hidden,
        )
    if isinstance(value, str) and value.partition(":")[0] in _PATTERNS:
        return Objection("not a complete reference", f"write it in full: {FORMS}", value=hidden)
    return Objection(
        "a secret is never written here, only where it is kept", f"write a reference: {FORMS}", value=hidden
    )


def with_names_resolved(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with every `secret:NAME` replaced by what `secrets` says under that name."""
    named = data.get("secrets")
    if not isinstance(named, Mapping):
        return dict(data)

    def resolved(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: resolved(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [resolved(inner) for inner in value]
        match = _BY_NAME.fullmatch(value) if isinstance(value, str) else None
        if match is None or match[1] not in named:
            return value
        entry = named[match[1]]
        # An entry that is wrong is reported where it stands, not again wherever it is used.
        return (SecretRef.parse(entry) if isinstance(entry, str) else None) or SecretRef("vault", match[1])

    return {key: value if key == "secrets" else resolved(value) for key, value in data.items()}
