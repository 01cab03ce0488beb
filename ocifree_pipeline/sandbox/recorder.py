"""What was asked of the sandbox, and what it answered: a ring of the last requests, without bodies or secrets."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    at: str
    host: str
    method: str
    path: str
    service: str
    operation: str
    status: int
    code: str
    request_id: str
    mutating: bool
    verified: bool
    replayed: bool = False
    fault: int = 0


class Recorder:
    def __init__(self, capacity: int = 20_000) -> None:
        self._ring: deque[Entry] = deque(maxlen=capacity)
        self.total = 0

    def add(self, entry: Entry) -> None:
        self._ring.append(entry)
        self.total += 1

    def query(self, **wanted: Any) -> list[Entry]:
        """Entries whose fields equal ``wanted``, oldest first: ``query(operation="CreateVcn", status=200)``."""
        return [entry for entry in self._ring if all(getattr(entry, name) == value for name, value in wanted.items())]

    def count(self, **wanted: Any) -> int:
        return len(self.query(**wanted))

    def clear(self) -> None:
        self._ring.clear()
        self.total = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._ring))
