"""What we are about to do outside, written down before it is done.

A call that makes something is not repeatable by itself: if the process dies, or the reply is lost, nobody knows whether
it took place. So the intent is on disk before the call, with the token that makes the call repeatable. Whoever resumes
looks for the thing first (by its tags) and then makes the same call with the same token.

One file a deployment, JSON lines, only ever appended to, readable by its owner alone. Details never hold a secret.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.durable import home_of, make_durable, no_room, private_folder, saying_when_full

Scalar = str | int | float | bool | None

TOKEN_LIFETIME = timedelta(hours=23)
"""Oracle forgets a retry token after 24 hours; after that the same token would make a second thing."""

_NO_DETAILS: Mapping[str, Scalar] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Intent:
    """One call that was about to be made. `token` is its retry token."""

    id: str
    operation: str
    subject: str
    token: str
    at: datetime
    deadline: datetime
    details: Mapping[str, Scalar]


@dataclass(slots=True)
class Journal:
    """Safe between threads and processes: whoever reads or writes holds a lock on the file."""

    file: Path
    _open: dict[str, Intent] = field(default_factory=dict, repr=False)
    _read_to: int = field(default=0, repr=False)

    def intend(
        self,
        operation: str,
        subject: str,
        details: Mapping[str, Scalar] = _NO_DETAILS,
        *,
        now: datetime,
        lifetime: timedelta = TOKEN_LIFETIME,
    ) -> Intent:
        """The open intent for this operation and subject, as it was written; else a new one, on disk before we return.

        An intent past its deadline is closed as expired: its token no longer means anything to the other side.
        """
        if now.tzinfo is None:
            raise ValueError("now needs a time zone")
        with self._locked() as handle:
            for known in self._matching(operation, subject):
                if now < known.deadline:
                    return known
                self._append(handle, {"closed": known.id, "result": "expired"})
            intent = Intent(
                id=uuid.uuid4().hex,
                operation=operation,
                subject=subject,
                token=f"ocifree-{uuid.uuid4().hex}",
                at=now,
                deadline=now + lifetime,
                details=MappingProxyType(dict(details)),
            )
            self._append(handle, _as_line(intent))
            return intent

    def close(self, intent: Intent, result: str) -> None:
        """The call has a known end: it was made and read back, or it is known not to have taken place."""
        with self._locked() as handle:
            if intent.id in self._open:
                self._append(handle, {"closed": intent.id, "result": result})

    def open_intents(self, operation: str | None = None) -> list[Intent]:
        """Calls whose end nobody wrote down, oldest first; those past their deadline too."""
        if not self.file.exists():
            return []
        with self._locked():
            return [intent for intent in self._open.values() if operation in (None, intent.operation)]

    def _matching(self, operation: str, subject: str) -> list[Intent]:
        return [one for one in self._open.values() if (one.operation, one.subject) == (operation, subject)]

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file under lock, and what others wrote since we last looked taken in."""
        private_folder(self.file.parent)
        is_new = not self.file.exists()
        handle = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if is_new:
                make_durable(self.file.parent)
            self._take_in(handle)
            yield handle
        finally:
            os.close(handle)

    def _take_in(self, handle: int) -> None:
        size = os.fstat(handle).st_size
        if size < self._read_to:
            self._open.clear()
            self._read_to = 0
        text = os.pread(handle, size - self._read_to, self._read_to)
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            # A write that a power cut broke off. The call that it announced waits for the fsync, so it was never made.
            os.ftruncate(handle, self._read_to + len(whole))
        for line in whole.splitlines():
            self._note(self._parse(line))
        self._read_to += len(whole)

    def _append(self, handle: int, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with saying_when_full(self.file):
            written = os.write(handle, line)
            if written != len(line):
                os.ftruncate(handle, self._read_to)
                raise no_room(self.file, f"only {written} of {len(line)} bytes were taken")
            os.fsync(handle)
        self._read_to += len(line)
        self._note(entry)

    def _note(self, entry: dict[str, Any]) -> None:
        if "closed" in entry:
            self._open.pop(entry["closed"], None)
        else:
            intent = _from_line(entry)
            self._open[intent.id] = intent

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = json.loads(line)
            if "closed" not in entry:
                _from_line(entry)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                f"{self.file} is damaged",
                why=f"a line of it is not an entry: {line[:80]!r}",
                fix="remove that line; what was under way is then found again by its tags only",
            ) from error
        return entry


def journal_of(deployment_name: str, environ: Mapping[str, str] = os.environ) -> Journal:
    """Beside the history of the deployment."""
    return Journal(home_of(environ) / "journal" / f"{deployment_name}.jsonl")


def _as_line(intent: Intent) -> dict[str, Any]:
    fields = {name: getattr(intent, name) for name in intent.__dataclass_fields__}
    return fields | {
        "at": intent.at.isoformat(),
        "deadline": intent.deadline.isoformat(),
        "details": dict(intent.details),
    }


def _from_line(entry: dict[str, Any]) -> Intent:
    return Intent(
        id=entry["id"],
        operation=entry["operation"],
        subject=entry["subject"],
        token=entry["token"],
        at=datetime.fromisoformat(entry["at"]),
        deadline=datetime.fromisoformat(entry["deadline"]),
        details=MappingProxyType(dict(entry["details"])),
    )
