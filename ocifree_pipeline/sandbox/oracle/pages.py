"""Lists: filters, order, and pages linked by ``opc-next-page``."""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource

SORT_KEYS = {"TIMECREATED": "timeCreated", "DISPLAYNAME": "displayName", "NAME": "name"}
LARGEST = 1000


def listing(
    call: Call,
    source: str | Iterable[Resource],
    *,
    filters: Sequence[str] = (),
    sort: Sequence[str] = ("TIMECREATED", "DISPLAYNAME"),
    compartment: bool = True,
    default_limit: int = 100,
) -> Reply:
    """Resources of a kind (or given ones) that this call may see, as one page of a bare array.

    ``filters`` are query names that equal body fields. With ``compartment`` the query must name an existing
    compartment and only its resources are listed. ``sort`` names the allowed values of ``sortBy``.
    """
    resources = call.world.all(source) if isinstance(source, str) else source
    seen = [one for one in resources if one.region in {"", call.region}]
    if compartment:
        inside = call.compartment(call.query.need("compartmentId")).ocid
        seen = [one for one in seen if one.body.get("compartmentId") == inside]
    for name in filters:
        wanted = call.query.all(name)
        if wanted:
            seen = [one for one in seen if _as_query(one.body.get(name)) in wanted]
    return page(call, [one.body for one in ordered(call, seen, sort)], default_limit=default_limit)


def ordered(call: Call, resources: Iterable[Resource], sort: Sequence[str]) -> list[Resource]:
    """By ``sortBy`` and ``sortOrder``: times newest first, names from A, unless the client says otherwise."""
    by = _choice(call, "sortBy", sort, sort[0])
    order = _choice(call, "sortOrder", ("ASC", "DESC"), "DESC" if by == "TIMECREATED" else "ASC")
    key = SORT_KEYS[by]
    numbered = list(enumerate(resources))
    numbered.sort(key=lambda one: (str(one[1].body.get(key, "")), one[0]), reverse=order == "DESC")
    return [resource for _, resource in numbered]


def page(call: Call, items: Sequence[dict[str, Any]], *, default_limit: int = 100, id_key: str = "id") -> Reply:
    """One page of items that are filtered and ordered already; the rest is behind ``opc-next-page``."""
    limit = call.query.number("limit", default_limit, 1, LARGEST)
    question = _question(call)
    start = _start(call, items, question, id_key)
    chosen = list(items[start : start + limit])
    headers: dict[str, str] = {}
    if start + limit < len(items):
        headers["opc-next-page"] = _token(question, start + limit, chosen[-1].get(id_key))
    return Reply(chosen, headers=headers)


def _start(call: Call, items: Sequence[dict[str, Any]], question: str, id_key: str) -> int:
    """Where the page begins: after the item that ended the last one, even if items before it are gone meanwhile."""
    token = call.query.get("page")
    if token is None:
        return 0
    try:
        asked, offset, last = json.loads(base64.urlsafe_b64decode(token.encode()))
        offset = int(offset)
    except (ValueError, TypeError) as error:
        raise errors.invalid_parameter(f"page {token!r} is not a token of this service") from error
    if asked != question:
        raise errors.invalid_parameter("page belongs to a list with other parameters")
    if last is not None:
        after = next((at + 1 for at, item in enumerate(items) if item.get(id_key) == last), None)
        if after is not None:
            return after
    return max(0, offset)


def _token(question: str, offset: int, last: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps([question, offset, last]).encode()).decode()


def _question(call: Call) -> str:
    asked = sorted((name, values) for name, values in call.query.items() if name not in {"page", "limit"})
    return hashlib.sha256(json.dumps([call.operation, call.path, asked]).encode()).hexdigest()[:16]


def _choice(call: Call, name: str, allowed: Sequence[str], default: str) -> str:
    given = call.query.get(name)
    if given is None:
        return default
    if given.upper() not in allowed:
        raise errors.invalid_parameter(f"{name} must be one of {', '.join(allowed)}, not {given!r}")
    return given.upper()


def _as_query(value: Any) -> str:
    """A body value as a query would spell it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
