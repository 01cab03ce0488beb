"""Backups of etcd: which are due, which have outlived, and whether a snapshot is whole."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.talos.backups import (
    KEEP_AT_LEAST,
    PAGE,
    backups_in,
    is_due,
    name_for,
    outlived,
    require_whole,
    seal,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DIGEST = "0123456789ab"


def named(hours: int) -> str:
    return "etcd/" + name_for(NOW - timedelta(hours=hours), DIGEST)


@settings(max_examples=60)
@given(ages=st.lists(st.integers(0, 24 * 30), max_size=12, unique=True))
def test_a_week_is_kept_and_never_fewer_than_a_few(ages: list[int]) -> None:
    kept = backups_in([*map(named, ages), "etcd/notes.txt", "images/x.qcow2"])
    assert [one.at for one in kept] == sorted(NOW - timedelta(hours=age) for age in ages)
    gone = outlived(kept, NOW)
    left = [one for one in kept if one not in gone]
    assert len(left) >= min(KEEP_AT_LEAST, len(kept))
    assert all(NOW - one.at > timedelta(days=7) for one in gone)
    assert len(left) == max(min(KEEP_AT_LEAST, len(kept)), sum(age <= 7 * 24 for age in ages))
    assert is_due(kept, NOW) == all(age >= 20 for age in ages)


def whole(pages: int) -> bytes:
    plain = b"e" * PAGE * pages
    return plain + hashlib.sha256(plain).digest()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no whole pages"),
        (whole(2)[:-1], "no whole pages"),
        (whole(2)[PAGE:], "its digest is another"),
        (b"x" + whole(2)[1:], "its digest is another"),
        (hashlib.sha256(b"").digest(), "no whole pages"),
    ],
)
def test_a_snapshot_that_is_not_whole_is_no_backup(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "etcd.db"
    file.write_bytes(content)
    with pytest.raises(NotVerified) as refused:
        require_whole(file)
    assert why in refused.value.why


def test_what_is_sealed_opens_with_the_key_alone(tmp_path: Path) -> None:
    plain, sealed, key = tmp_path / "etcd.db", tmp_path / "etcd.age", pyrage.x25519.Identity.generate()
    plain.write_bytes(whole(3))
    assert require_whole(plain) == len(whole(3))
    digest = seal(plain, sealed, str(key.to_public()))
    assert hashlib.sha256(sealed.read_bytes()).hexdigest() == digest
    assert sealed.stat().st_mode & 0o077 == 0
    assert pyrage.decrypt(sealed.read_bytes(), [key]) == whole(3)
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed.read_bytes(), [pyrage.x25519.Identity.generate()])
