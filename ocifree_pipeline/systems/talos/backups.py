"""Backups of etcd: snapshots that are whole, sealed for the owner of the vault, a few of them and not more.

The name of a backup is its moment and the digest of the sealed file, so a list of names is a list of backups.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.secrets.age import key_in

PAGE = 512
"""etcd's file has whole pages; behind them a snapshot has the SHA-256 of all before."""
KEEP_DAYS = 7
KEEP_AT_LEAST = 3
DUE_AFTER = timedelta(hours=20)
_NAME = re.compile(r"(?P<moment>\d{8}T\d{6}Z)-(?P<digest>[0-9a-f]{12})\.etcd\.age")
_MOMENT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True, order=True)
class Backup:
    """One of those that are kept, by its name."""

    at: datetime
    name: str

    @property
    def short(self) -> str:
        """Without the folder and the endings, as a person types it."""
        return self.name.rpartition("/")[2].partition(".")[0]


def backups_in(names: Iterable[str]) -> tuple[Backup, ...]:
    """The backups among these objects, oldest first. Whatever else lies there is not ours to judge."""
    found = []
    for name in names:
        match = _NAME.fullmatch(name.rpartition("/")[2])
        if match:
            found.append(Backup(datetime.strptime(match["moment"], _MOMENT).replace(tzinfo=UTC), name))
    return tuple(sorted(found))


def name_for(at: datetime, digest: str) -> str:
    return f"{at.astimezone(UTC).strftime(_MOMENT)}-{digest[:12]}.etcd.age"


def is_due(kept: tuple[Backup, ...], at: datetime) -> bool:
    return not kept or at - kept[-1].at >= DUE_AFTER


def outlived(kept: tuple[Backup, ...], at: datetime) -> tuple[Backup, ...]:
    """Older than a week; the newest few stay however old they are."""
    return tuple(one for one in kept[:-KEEP_AT_LEAST] if at - one.at > timedelta(days=KEEP_DAYS))


def require_whole(snapshot: Path) -> int:
    """The size of a snapshot that is what etcd sent; NotVerified if a part of it is missing or was changed."""
    size = snapshot.stat().st_size
    digest = hashlib.sha256()
    length = digest.digest_size
    if size <= length or size % PAGE != length:
        raise _broken(f"{size} bytes are no whole pages and a digest")
    with snapshot.open("rb") as file:
        left = size - length
        while left:
            block = file.read(min(left, 1 << 20))
            digest.update(block)
            left -= len(block)
        if file.read() != digest.digest():
            raise _broken("its digest is another")
    return size


def seal(plain: Path, sealed: Path, recipient: str) -> str:
    """Encrypt for whoever has the key; the SHA-256 of what comes out."""
    import pyrage

    sealed.touch(0o600, exist_ok=False)
    pyrage.encrypt_file(str(plain), str(sealed), [pyrage.x25519.Recipient.from_str(recipient)])
    with sealed.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unseal(sealed: Path, plain: Path, name: str, identity: Path) -> int:
    """Open a backup with the key of the vault, as after a loss; the size of what is in it, which is whole."""
    import pyrage

    with sealed.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not name.endswith(f"-{digest[:12]}.etcd.age"):
        raise _unusable(name, f"its content has the digest {digest[:12]}, and its name tells of another")
    plain.touch(0o600, exist_ok=False)
    try:
        pyrage.decrypt_file(str(sealed), str(plain), [key_in(identity.read_text("utf-8"), identity)])
    except pyrage.DecryptError:
        raise _unusable(name, f"the key {identity} does not open it: it was sealed for another") from None
    return require_whole(plain)


def _unusable(name: str, why: str) -> NotVerified:
    return NotVerified(
        f"the backup {name} is of no use",
        why=why,
        fix="`ocifree up --select 'assurance/etcd_backup'` takes another when it is due; look for who changed this one",
    )


def _broken(why: str) -> NotVerified:
    return NotVerified("the snapshot of etcd is not whole", why=why, fix="try again; the way there may have broken")
