"""Oracle's answers as the project's errors.

The codes alone do not tell: `InternalError` is both "no capacity" and a real fault, `NotAuthorizedOrNotFound` is both a
missing permission and a shape that an availability domain does not have. So the message decides where the code cannot.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    LimitReached,
    OcifreeError,
    OutOfCapacity,
    QuotaRefused,
    Refused,
    Throttled,
    Transient,
)


class ShapeNotOffered(Refused):
    """This availability domain does not have the shape at all. Another one may."""


class ClockWrong(AuthFailed):
    """Oracle refuses what is signed at another time than its own."""


class TokenWornOut(Transient):
    """The retry token belongs to something that is gone again, or to another request. The next call has a new one."""


MOST_SKEW_SECONDS = 300


@dataclass(frozen=True, slots=True)
class _Row:
    """First match wins. A status or code of None matches any."""

    status: int | None
    code: str | None
    message: str
    kind: type[OcifreeError]
    why: str
    fix: str


_CAPACITY = r"out of (host )?capacity"

_ROWS = (
    _Row(500, None, _CAPACITY, OutOfCapacity,
         "Oracle has no host for this shape here now", "the hunt goes on; `ocifree status` shows it"),
    _Row(400, "LimitExceeded", "", LimitReached,
         "a service limit is used up: by an earlier launch that landed after all, by other instances, or, for about an "
         "hour, by a launch that failed", "look at `ocifree plan --live`; do not launch again before it has room"),
    _Row(400, "QuotaExceeded", "", QuotaRefused,
         "a quota policy of the tenancy refused it, which is what the guardrails are for",
         "compare the request with `ocifree plan`"),
    _Row(429, None, "", Throttled, "too many calls", "wait; the next try is slower by itself"),
    _Row(401, None, "", AuthFailed,
         "the key, user or fingerprint is not known to Oracle, the clock is wrong, or the account is closed",
         "`ocifree doctor` checks each of these"),
    _Row(404, None, r"shape .* not found", ShapeNotOffered,
         "this availability domain does not offer the shape", "the hunt leaves this domain out"),
    _Row(404, None, "", Forbidden,
         "it does not exist, is in another region, or the user may not see it; for everything at once it means a "
         "suspended account", "`ocifree doctor` tells them apart"),
    _Row(403, None, "", Forbidden, "the user's policies do not allow it",
         "an administrator adds the policy of docs/permissions.md"),
    _Row(409, "IncorrectState", "", Transient, "the resource is still changing", "try again in a minute"),
    _Row(409, "InvalidatedRetryToken", "", TokenWornOut,
         "what an earlier call with the same token made is gone again, or it asked for something else",
         "materialize the asset again: it looks first and then makes a new call"),
    _Row(409, None, "", Conflict, "another resource stands in the way", "look at the resource that is named"),
    _Row(412, None, "", Transient, "it was changed by someone else at the same moment", "read again, then try again"),
    _Row(400, None, "", Refused, "Oracle does not accept the request", "this is a fault of ocifree; please report it"),
)  # fmt: skip


def translate(error: Any, doing: str) -> OcifreeError:
    """The error for an oci.exceptions.ServiceError. `doing` completes "Oracle refused to ..."."""
    status, code, message = int(error.status), str(error.code or ""), str(error.message or "").strip()
    said = f"{doing}: Oracle answered {status} {code}: {message}" if code else f"{doing}: Oracle answered {status}"
    if error.request_id:
        said += f" (request {error.request_id})"
    skew = _skew(getattr(error, "headers", None) or {}) if status == 401 else 0
    if abs(skew) > MOST_SKEW_SECONDS:
        return ClockWrong(
            said,
            why=f"the clock of this computer is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Oracle's, and "
            f"Oracle refuses requests that are signed more than {MOST_SKEW_SECONDS} s away from its own time",
            fix="set the clock of this computer (an NTP client keeps it right), then try again",
        )
    for row in _ROWS:
        if row.status in (None, status) and row.code in (None, code) and re.search(row.message, message, re.IGNORECASE):
            return row.kind(said, why=row.why, fix=row.fix)
    if status >= 500:
        return Transient(said, why="a fault on Oracle's side", fix="try again in a few minutes")
    return Refused(said, why="an answer that ocifree does not know", fix="please report it with the request id")


def _skew(headers: Mapping[str, str]) -> float:
    """Seconds by which this computer is ahead of the server that answered; 0 where it does not say its time."""
    try:
        return time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return 0


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Everything the SDK raises inside becomes one of our errors."""
    from oci import exceptions

    try:
        yield
    except exceptions.ServiceError as error:
        raise translate(error, doing) from error
    except (exceptions.ConnectTimeout, exceptions.RequestException) as error:
        raise Transient(
            f"{doing}: no answer from Oracle", why=_without_url(error), fix="`ocifree doctor` tests the connection"
        ) from error


def _without_url(error: Exception) -> str:
    # The SDK's message repeats the request; its first line says enough, and headers are never shown.
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
