"""Downloads over real TLS through the proxy door, from a server that does what servers do."""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import (
    Forbidden,
    NotVerified,
    OcifreeError,
    PreconditionMissing,
    Refused,
    Throttled,
    Transient,
)
from ocifree_pipeline.sandbox.door.http import Request, Response
from ocifree_pipeline.sandbox.image_hosts.answers import file
from ocifree_pipeline.systems.images.download import CHUNK, TRIES, fetch
from ocifree_pipeline.systems.images.progress import Meter, Progress, size_in_words

HOST = "mirror.example.org"
URL = f"https://{HOST}/disk.qcow2"
CONTENT = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(100_000))
DIGEST = hashlib.sha256(CONTENT).hexdigest()
GB = 1_000_000_000

Answer = Callable[[Request], Response]


@dataclass
class Server:
    """Answers in order; the last one answers for ever. `asked` are the Range headers that came."""

    answers: list[Answer]
    asked: list[str] = field(default_factory=list)

    def player(self, host: str) -> Any:
        return self.handle if host == HOST else None

    async def handle(self, request: Request) -> Response:
        self.asked.append(request.headers.get("range", ""))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request)


def ranged(request: Request) -> Response:
    return file(request, CONTENT).response


def cut(request: Request) -> Response:
    """About half of what was asked for, then the connection ends."""
    response = ranged(request)
    response.cut = "truncate"
    return response


def whole(_request: Request) -> Response:
    """A server that knows no ranges and gives files no names."""
    return Response(200, {}, CONTENT)


def says(status: int, **headers: str) -> Answer:
    return lambda request: Response(status, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass
class Here:
    """One download: the server it talks to, and where it goes."""

    server: Server
    target: Path
    slept: list[float] = field(default_factory=list)

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    def fetch(self, **more: Any) -> Any:
        given = {"sha256": DIGEST, "most_bytes": 10 * GB, "sleep": self.slept.append} | more
        return fetch(given.pop("url", URL), self.target, **given)


@pytest.fixture
def serve(door, tmp_path):
    def begin(*answers: Answer) -> Here:
        server = Server(list(answers))
        door.sandbox.players.append(server.player)
        return Here(server, tmp_path / "images" / "disk.qcow2")

    return begin


def test_a_file_comes_with_progress_and_is_not_fetched_twice(serve):
    here, told = serve(ranged), []
    fetched = here.fetch(tell=told.append)
    assert (fetched.sha256, fetched.size, fetched.downloaded) == (DIGEST, len(CONTENT), len(CONTENT))
    assert here.target.read_bytes() == CONTENT
    assert (told[-1].done, told[-1].percent) == (len(CONTENT), 100)
    assert here.fetch().downloaded == 0
    assert here.server.asked == [""]
    assert sorted(one.name for one in here.target.parent.iterdir()) == ["disk.qcow2", "disk.qcow2.lock"]


def test_a_checksum_of_the_other_kind_proves_it_as_well(serve):
    here = serve(ranged)
    other = hashlib.sha512(CONTENT).hexdigest()
    with pytest.raises(NotVerified, match="SHA-512"):
        here.fetch(sha256=None, sha512="0" * 128)
    fetched = here.fetch(sha256=None, sha512=other)
    assert (fetched.sha256, fetched.downloaded) == (DIGEST, len(CONTENT))
    assert here.fetch(sha256=None, sha512=other).downloaded == 0


def test_a_broken_connection_is_taken_up_where_it_ended(serve):
    here = serve(cut, cut, cut, ranged)
    fetched = here.fetch()
    assert here.target.read_bytes() == CONTENT
    assert fetched.downloaded == len(CONTENT)
    starts = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for asked in here.server.asked]
    assert starts == sorted(set(starts))
    assert starts[0] == 0 < starts[1]


def test_it_gives_up_after_some_tries_without_progress_and_keeps_what_it_has(serve):
    here = serve(cut, says(503))
    with pytest.raises(Transient, match="answered 503"):
        here.fetch()
    assert len(here.server.asked) == 1 + TRIES - 1
    assert here.slept == [2.0, 4.0, 8.0, 16.0]
    kept = here.part.stat().st_size
    assert 0 < kept < len(CONTENT)
    here.server.answers = [ranged]
    fetched = here.fetch()
    assert here.server.asked[-1] == f"bytes={kept}-"
    assert fetched.downloaded == len(CONTENT) - kept
    assert here.target.read_bytes() == CONTENT


@pytest.mark.parametrize("answers", [[cut, whole], [whole], [cut, says(416), ranged], [cut, says(206), ranged]])
def test_servers_that_know_no_ranges_or_say_nonsense_send_it_all_again(serve, answers):
    here = serve(*answers)
    here.fetch()
    assert here.target.read_bytes() == CONTENT


def test_a_file_that_was_replaced_meanwhile_is_not_glued_to_the_old_half(serve):
    other = bytes(reversed(CONTENT))
    here = serve(cut, lambda request: file(request, other).response)
    fetched = here.fetch(sha256=hashlib.sha256(other).hexdigest())
    assert here.server.asked[1].startswith("bytes=")
    assert fetched.path.read_bytes() == other


def test_what_came_from_another_address_is_no_head_start(serve):
    here = serve(cut, says(503))
    with pytest.raises(Transient):
        here.fetch(url=f"https://{HOST}/other.qcow2")
    here.server.answers = [ranged]
    here.fetch()
    assert here.server.asked[-1] == ""


@pytest.mark.parametrize("when", ["first", "resumed", "in the cache"])
def test_a_wrong_checksum_deletes_what_came_and_says_both(serve, when):
    here = serve(cut, ranged) if when == "resumed" else serve(ranged)
    if when == "in the cache":
        here.fetch()
        here.target.write_bytes(b"rotten")
        assert here.fetch().downloaded == len(CONTENT)
    with pytest.raises(NotVerified) as caught:
        here.fetch(sha256="0" * 64)
    assert DIGEST in caught.value.why
    assert "0" * 64 in caught.value.why
    assert not here.part.exists()
    assert here.target.exists() is (when == "in the cache")


def test_a_file_that_is_not_accepted_never_gets_its_name(serve):
    here = serve(ranged)

    def accept(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise Refused("no disk", why="w", fix="f")

    with pytest.raises(Refused, match="no disk"):
        here.fetch(accept=accept)
    assert not here.target.exists()
    assert not here.part.exists()


def test_no_room_is_said_before_anything_is_written(serve):
    here = serve(ranged)
    with pytest.raises(PreconditionMissing) as caught:
        here.fetch(free_bytes=lambda folder: 400_000_000)
    assert "3.2 MB are still to come" in caught.value.why
    assert "DAGSTER_HOME" in caught.value.fix
    assert not here.part.exists()


@pytest.mark.parametrize("answer", [ranged, whole])
def test_a_file_over_the_budget_is_not_fetched(serve, answer):
    with pytest.raises(Refused, match="larger than an image may be"):
        serve(answer).fetch(most_bytes=1_000_000)


def test_two_at_once_do_not_write_into_each_other(serve):
    inside, go = threading.Event(), threading.Event()

    def accept(_path: Path) -> None:
        inside.set()
        go.wait(20)

    here = serve(ranged)
    first = threading.Thread(target=lambda: here.fetch(accept=accept))
    first.start()
    assert inside.wait(20)
    with pytest.raises(Transient, match="being fetched already"):
        here.fetch()
    go.set()
    first.join(20)
    assert here.fetch().downloaded == 0


@pytest.mark.parametrize(
    ("answer", "error", "says_so"),
    [
        (says(404), Refused, "answered 404"),
        (says(403), Forbidden, "answered 403"),
        (says(429), Throttled, "answered 429"),
        (says(302, location="http://mirror.example.org/disk.qcow2"), Refused, "without TLS"),
        (says(302, location=URL), Refused, "in a circle"),
        (says(302, location="https://elsewhere.example.org/x"), Refused, "proxy does not lead"),
        (lambda request: Response(200, {"content-encoding": "gzip"}, b"x"), Refused, "sent as gzip"),
    ],
)
def test_every_refusal_says_what_and_what_to_do(serve, answer, error, says_so):
    with pytest.raises(error, match=says_so) as caught:
        serve(answer).fetch()
    assert caught.value.why
    assert caught.value.fix


def test_a_redirect_that_stays_on_https_is_followed(serve):
    here = serve(says(302, location=f"https://{HOST}/moved.qcow2"), ranged)
    assert here.fetch().sha256 == DIGEST


def test_an_authority_that_is_not_known_is_refused(serve, monkeypatch):
    import certifi

    here = serve(ranged)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    with pytest.raises(Refused, match="certificate") as caught:
        here.fetch()
    assert "REQUESTS_CA_BUNDLE" in caught.value.fix


class Died(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("blocks", [0, 1, 12, 24, 25])
def test_a_process_that_dies_at_any_block_goes_on_from_there(serve, blocks, monkeypatch):
    here, left = serve(ranged), [blocks]
    add = Meter.add

    def die(self: Meter, count: int) -> None:
        if not left[0]:
            raise Died
        left[0] -= 1
        add(self, count)

    with monkeypatch.context() as patch:
        patch.setattr(Meter, "add", die)
        try:
            here.fetch()
        except Died:
            kept = here.part.stat().st_size
            assert kept == min(len(CONTENT), (blocks + 1) * CHUNK)
        else:
            assert blocks == 25
            return
    fetched = here.fetch()
    assert fetched.downloaded == len(CONTENT) - kept
    assert here.target.read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "{", "[]", json.dumps({"url": URL}), json.dumps({"url": "x", "validator": "y"})])
def test_a_part_without_a_good_note_is_not_trusted(serve, note):
    here = serve(ranged)
    here.target.parent.mkdir()
    here.part.write_bytes(b"somebody else's bytes")
    here.part.with_name(here.part.name + ".json").write_text(note)
    here.fetch()
    assert here.server.asked == [""]
    assert here.target.read_bytes() == CONTENT


@given(st.integers(0, 10**13), st.integers(1, 10**13), st.floats(0.001, 1e6))
def test_progress_is_never_absurd(done, total, seconds):
    done = min(done, total)
    progress = Progress(done, total, seconds)
    assert 0 <= (progress.percent or 0) <= 100
    assert progress.seconds_left is None or progress.seconds_left >= 0
    assert "%" in str(progress)


def test_progress_in_words():
    assert str(Progress(500_000_000, 2 * GB, 10)) == "500.0 MB of 2.0 GB (25 %, 30 s left)"
    assert str(Progress(1 * GB, 2 * GB, 10, began_at=GB - 10_000_000)) == "1.0 GB of 2.0 GB (50 %, 16 min 40 s left)"
    assert str(Progress(12, None, 1)) == "12 bytes so far"
    assert [size_in_words(n) for n in (0, 999, 1000, 10**12)] == ["0 bytes", "999 bytes", "1.0 kB", "1.0 TB"]


def test_no_error_is_without_a_next_step(serve):
    with pytest.raises(OcifreeError) as caught:
        serve(says(500)).fetch()
    assert caught.value.fix
