"""Everything that is wrong with a document, found in one go.

Validate, note what is wrong, take it out, and go on with the rest until the rest is valid. So a bad number in one
section hides neither an overlap in the same section nor a contradiction between others. What rests on something that
was taken out is not reported: it may be right once that is mended.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import IPv4Network
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from ocifree_pipeline.deployment import consistency
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.document import Document
from ocifree_pipeline.deployment.explaining import missing, objections_in, shown
from ocifree_pipeline.deployment.objection import Objection
from ocifree_pipeline.deployment.paths import Path, related, spelled, texts, value_at, without
from ocifree_pipeline.deployment.problems import Problem
from ocifree_pipeline.deployment.secret_literals import masked, secret_kind
from ocifree_pipeline.deployment.secret_reference import FORMS, with_names_resolved
from ocifree_pipeline.deployment.sections.section import Section

_SHA512 = re.compile(r"[0-9a-f]{128}")
"""Looks like a key of 512 bits, and is none where the declaration has a place for it."""


def secrets_written_out(document: Document) -> dict[Path, Problem]:
    """Every text that looks like a secret, by its place."""
    return {
        path: Problem(
            spelled(path),
            document.line(path),
            masked(text),
            f"looks like {kind}, and this file is no place for one",
            f"{_instead(path, kind)}; if this file was ever shared, replace the secret",
        )
        for path, text in texts(document.data)
        if (kind := secret_kind(text)) and not (path[-1] == "sha512" and _SHA512.fullmatch(text))
    }


def all_problems(document: Document, secrets: dict[Path, Problem]) -> list[Problem]:
    """What reading found, the secrets, and what does not validate: in the order of the file."""
    invalid = (_problem(document, objection) for objection in _objections(document, secrets))
    return sorted([*document.problems, *secrets.values(), *invalid], key=lambda problem: problem.line or 0)


def _instead(path: Path, kind: str) -> str:
    if path[:2] == ("access", "ssh_public_keys"):
        return "paste the public half, the line of the .pub file"
    if "inside an address" in kind:
        return "write the address without it"
    return f"keep it elsewhere and write a reference: {FORMS}"


def _objections(document: Document, unusable: Iterable[Path]) -> Iterator[Objection]:
    data, gone = _taken_out(with_names_resolved(document.data), unusable)
    for name, info in Declaration.model_fields.items():
        if info.is_required() and data.get(name) is None and not _touched((name,), gone):
            why, fix = missing((name,))
            yield Objection(why, fix, at=(name,))
    while True:
        try:
            sections = _every_section_optional().model_validate(data)
            break
        except ValidationError as error:
            details = error.errors(include_url=False)
        found = [objection for detail in details for objection in objections_in(detail)]
        yield from (objection for objection in found if not _rests_on(objection, gone))
        data, more = _taken_out(data, [objection.at for objection in found])
        gone += more
    for objection in consistency.objections({name: value for name, value in sections if value is not None}):
        if not _rests_on(objection, gone):
            yield objection


def _rests_on(objection: Objection, gone: list[Path]) -> bool:
    return any(_touched(path, gone) for path in (objection.at, *objection.involves))


def _touched(path: Path, gone: list[Path]) -> bool:
    return any(related(path, other) for other in gone)


def _taken_out(data: dict[str, Any], paths: Iterable[Path]) -> tuple[dict[str, Any], list[Path]]:
    """The data without `paths`, and the places that are gone: each path, or the list or section around it.

    A list goes whole, so that nothing in it changes its number; where nothing is written, the section around it goes.
    """
    gone: list[Path] = []
    for path in paths:
        if _touched(path, gone):
            continue
        place = path
        while (rest := without(data, place)) == data and len(place) > 1:
            place = place[:-1]
        data = rest
        gone.append(place)
    return data, gone


def _problem(document: Document, objection: Objection) -> Problem:
    at = objection.at
    value = objection.value
    if value is None:
        try:
            value = shown(value_at(document.data, at), at)
        except LookupError:
            value = _shown_default(at)
    return Problem(spelled(at), document.line(at), value, objection.why, objection.fix)


def _shown_default(path: Path) -> str:
    """What stands at `path` when nothing is written there."""
    value: Any = Declaration.model_fields[str(path[0])].get_default()
    for part in path[1:]:
        value = getattr(value, str(part), None)
    return f"{shown(value, path)} (default)" if isinstance(value, str | int | float | IPv4Network) else ""


@cache
def _every_section_optional() -> type[BaseModel]:
    """The declaration without what ties its sections together. Only built to explain a file that is wrong."""
    fields: dict[str, Any] = {}
    for name, info in Declaration.model_fields.items():
        relaxed = copy.copy(info)
        if info.is_required():
            relaxed.default = None
        fields[name] = (info.annotation, relaxed)
    return create_model("Sections", __base__=Section, **fields)
