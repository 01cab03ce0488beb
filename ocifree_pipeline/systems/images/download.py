"""Fetch one large file over HTTPS: resumable, hashed while it streams, and in place only once it is verified.

Beside the target stand, while it is under way, `NAME.part` with what has arrived and `NAME.part.json` with where it
came from and the server's name for that version (ETag). A later try asks for the rest with If-Range: a server that has
another version by then, or that knows no ranges, sends the whole file, and we begin anew.

The proxy and the certificate authorities are those of the environment (HTTPS_PROXY, REQUESTS_CA_BUNDLE).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.deployment.errors import (
    Forbidden,
    NotVerified,
    OcifreeError,
    PreconditionMissing,
    Refused,
    Throttled,
    Transient,
)
from ocifree_pipeline.systems.durable import make_durable
from ocifree_pipeline.systems.images.progress import Meter, Tell, size_in_words

if TYPE_CHECKING:
    import requests

CHUNK = 128 * 1024
"""What a broken connection can cost: a block that has not arrived whole is lost."""
CONNECT_SECONDS, READ_SECONDS = 10, 60
TRIES = 5
SPARE_BYTES = 500_000_000
"""What a download leaves free on the disk."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

Accept = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file. `downloaded` counts the bytes that came over the wire this time; 0: it was here already."""

    path: Path
    sha256: str
    size: int
    downloaded: int


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    sha512: str | None = None,
    most_bytes: int,
    tell: Tell = lambda progress: None,
    accept: Accept = lambda path: None,
    sleep: Callable[[float], None] = time.sleep,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Fetched:
    """The file of `url` at `target`. What is there already is hashed again; only a matching file spares the download.

    `accept` looks at the file before it gets its name, and raises if it is not what was wanted. A file that does not
    match its checksum (`sha512` where it is known, else `sha256`), or is not accepted, is deleted: half a lie is not a
    head start.
    """
    algorithm, wanted = ("sha512", sha512) if sha512 else ("sha256", sha256)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(target):
        if target.exists() and (wanted is None or digest_of(target, algorithm) == wanted):
            accept(target)
            return Fetched(target, digest_of(target), target.stat().st_size, 0)
        return _Download(url, target, algorithm, wanted, most_bytes, tell, accept, sleep, free_bytes).run()


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


class _Broken(Transient):
    """The connection ended before the file did."""


class _Again(Exception):
    """What we have does not belong to what the server has; begin anew."""


@dataclass(slots=True)
class _Download:
    url: str
    target: Path
    algorithm: str
    wanted: str | None
    most_bytes: int
    tell: Tell
    accept: Accept
    sleep: Callable[[float], None]
    free_bytes: Callable[[Path], int]
    downloaded: int = 0

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    def run(self) -> Fetched:
        with _session() as session:
            self._bring(session)
        came, size = digest_of(self.part, self.algorithm), self.part.stat().st_size
        if self.wanted not in (None, came):
            self._discard()
            raise NotVerified(
                f"{self.url} is not the image that was declared; what had arrived is deleted",
                why=f"its {self.algorithm.replace('sha', 'SHA-')} checksum is {came}, and {self.wanted} was wanted",
                fix="compare it with what its publisher shows; if the image was renewed, write the new checksum",
            )
        try:
            self.accept(self.part)
        except OcifreeError:
            self._discard()
            raise
        make_durable(self.part)
        self.part.replace(self.target)
        self.note.unlink(missing_ok=True)
        make_durable(self.target.parent)
        digest = came if self.algorithm == "sha256" else digest_of(self.target)
        return Fetched(self.target, digest, size, self.downloaded)

    def _bring(self, session: requests.Session) -> None:
        """Try until the whole file is here. A try that came further than any before does not count as a failed one."""
        failed, furthest = 0, self._have()
        while True:
            try:
                self._try(session)
                return
            except _Again:
                self._discard()
                failed += 1
            except _Broken:
                failed += 1
                if (here := self._have()) > furthest:
                    failed, furthest = 1, here
                if failed >= TRIES:
                    raise
            if failed >= TRIES:
                raise Transient(
                    f"{self.url} could not be fetched",
                    why="the server answers a request for the rest with something else each time",
                    fix="materialize the asset again in a few minutes",
                )
            self.sleep(min(60, 2**failed))

    def _try(self, session: requests.Session) -> None:
        have, validator = self._have(), self._validator()
        headers = {"Accept-Encoding": "identity"}
        if have and validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        with (
            _said(self.url),
            session.get(self.url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as reply,
        ):
            if reply.status_code == 416:
                if reply.headers.get("Content-Range") == f"bytes */{have}":
                    return  # still the same version, and all of it is here already
                raise _Again
            _refuse(self.url, reply)
            start, total = _extent(reply, have)
            if start == 0:
                self._discard()
            self._check_room(start, total)
            self._remember(reply)
            self._write(reply, start, total)

    def _write(self, reply: requests.Response, start: int, total: int | None) -> None:
        meter = Meter(total, self.tell, done=start)
        with self.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            try:
                for chunk in _chunks(reply):
                    if meter.done + len(chunk) > self.most_bytes:
                        raise self._too_large(meter.done + len(chunk))
                    file.write(chunk)
                    self.downloaded += len(chunk)
                    meter.add(len(chunk))
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise self._no_room(len(chunk), 0) from error
                raise
            finally:
                file.flush()
        if total is not None and meter.done != total:
            raise _Broken(
                f"{self.url} broke off after {size_in_words(meter.done)} of {size_in_words(total)}",
                why="the server or something on the way ended the connection",
                fix="materialize the asset again: it goes on where it stopped",
            )

    def _check_room(self, start: int, total: int | None) -> None:
        if total is None:
            return
        if total > self.most_bytes:
            raise self._too_large(total)
        free = self.free_bytes(self.target.parent)
        if total - start + SPARE_BYTES > free:
            raise self._no_room(total - start, free)

    def _no_room(self, needed: int, free: int) -> PreconditionMissing:
        return PreconditionMissing(
            f"{self.target.parent} has no room for {self.url}",
            why=f"{size_in_words(needed)} are still to come, {size_in_words(SPARE_BYTES)} stay free, and "
            f"{size_in_words(free)} are there",
            fix=f"free some room, or move DAGSTER_HOME to a larger disk; old images are in {self.target.parent}",
        )

    def _too_large(self, size: int) -> Refused:
        return Refused(
            f"{self.url} is larger than an image may be",
            why=f"it has {size_in_words(size)} or more, and `images.max_gb` allows {size_in_words(self.most_bytes)}",
            fix="make the image smaller (`qemu-img convert -c`), or raise `images.max_gb` if it is below 10",
        )

    # what is remembered between tries -----------------------------------------------------------------------------

    def _have(self) -> int:
        """How much of this very URL is here; what cannot be told apart from something else does not count."""
        if not self.part.exists() or not self._validator():
            return 0
        return self.part.stat().st_size

    def _validator(self) -> str | None:
        try:
            note = json.loads(self.note.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        if not isinstance(note, dict) or note.get("url") != self.url:
            return None
        return str(note.get("validator") or "") or None

    def _remember(self, reply: requests.Response) -> None:
        tag = reply.headers.get("ETag", "")
        # A weak tag promises the same meaning, not the same bytes, so it is no ground to join two halves on.
        validator = tag if tag and not tag.startswith("W/") else reply.headers.get("Last-Modified", "")
        self.note.write_text(json.dumps({"url": self.url, "validator": validator}), "utf-8")

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _session() -> requests.Session:
    """Only HTTPS, also after a redirect: the plain adapter is taken away."""
    import requests

    session = requests.Session()
    session.adapters.pop("http://")
    return session


def _chunks(reply: requests.Response) -> Iterator[bytes]:
    chunks: Iterator[bytes] = reply.iter_content(CHUNK)
    return chunks


def _extent(reply: requests.Response, have: int) -> tuple[int, int | None]:
    """Where what comes begins in the file, and how long the whole file is if the server says so."""
    if reply.status_code == 206:
        match = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise _Again
        return have, None if match[3] == "*" else int(match[3])
    length = reply.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _refuse(url: str, reply: requests.Response) -> None:
    status = reply.status_code
    if status in (200, 206):
        encoding = reply.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise Refused(
                f"{url} is sent as {encoding}",
                why="an image is asked for as it is, and the server packs it all the same",
                fix="use another mirror, or tell the server to send qcow2 files as they are",
            )
        return
    said = f"{url} answered {status} {reply.reason}".rstrip()
    if status == 429:
        raise Throttled(said, why="the server asks for patience", fix="materialize the asset again in some minutes")
    if status >= 500:
        raise _Broken(said, why="a fault on the server's side", fix="materialize the asset again in some minutes")
    if status in (401, 403, 407):
        raise Forbidden(
            said, why="it asks for a login, or does not want us", fix="open the address in a browser; it must be public"
        )
    raise Refused(said, why="there is no such file there", fix="correct the address of the image in the declaration")


@contextmanager
def _said(url: str) -> Iterator[None]:
    """What requests raises, as one of our errors."""
    import requests

    try:
        yield
    except requests.exceptions.InvalidSchema as error:
        raise Refused(
            f"{url} leads to an address without TLS",
            why="what comes over plain HTTP could come from anybody",
            fix="use a mirror that stays on https",
        ) from error
    except requests.exceptions.SSLError as error:
        raise Refused(
            f"the certificate of {url} is not trusted",
            why=_reason(error),
            fix="if your network has an authority of its own, name its file in REQUESTS_CA_BUNDLE",
        ) from error
    except requests.exceptions.ProxyError as error:
        reason = _reason(error)
        kind: type[OcifreeError] = Refused if re.search(r"\b40[0-9]\b", reason) else _Broken
        raise kind(
            f"the proxy does not lead to {url}", why=reason, fix="look at HTTPS_PROXY and NO_PROXY, or try again"
        ) from error
    except requests.exceptions.TooManyRedirects as error:
        raise Refused(f"{url} leads in a circle", why=_reason(error), fix="use another mirror") from error
    except requests.exceptions.RequestException as error:
        raise _Broken(
            f"{url} does not answer, or broke off",
            why=_reason(error),
            fix="materialize the asset again: it goes on where it stopped",
        ) from error


def _reason(error: Exception) -> str:
    """The innermost message: what wraps it repeats addresses and object names."""
    inner: Any = error
    while inner.args and isinstance(getattr(inner.args[0], "reason", inner.args[0]), Exception):
        inner = getattr(inner.args[0], "reason", inner.args[0])
    return (str(inner).splitlines() or [type(inner).__name__])[0][:200]


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Two downloads of one file would write into each other."""
    lock = target.with_name(target.name + ".lock")
    with lock.open("wb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Transient(
                f"{target.name} is being fetched already",
                why="another run on this computer has its lock",
                fix="wait for that run (`ocifree watch`)",
            ) from error
        yield
