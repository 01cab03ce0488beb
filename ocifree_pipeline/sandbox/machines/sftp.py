"""SFTP into the files of a guest, with the rights of whoever logged in."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.sandbox.machines import files
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import Who

if TYPE_CHECKING:
    import asyncssh

BITS_OF_FILE, BITS_OF_DIRECTORY = 0o100000, 0o040000


def server(machine: Computer, channel: "asyncssh.SSHServerChannel[bytes]") -> "asyncssh.SFTPServer":
    import asyncssh

    class Files(asyncssh.SFTPServer):
        """One session."""

        def __init__(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
            super().__init__(chan)
            self._user = str(chan.get_extra_info("username"))

        @property
        def _who(self) -> Who:
            return Who(machine.again(), self._user)

        def _path(self, path: bytes) -> str:
            return files.absolute(self._who, path.decode("utf-8", "surrogateescape") or ".")

        def realpath(self, path: bytes, *_compose: bytes) -> bytes:
            return self._path(path).encode("utf-8", "surrogateescape")

        def open(self, path: bytes, pflags: int, attrs: "asyncssh.SFTPAttrs") -> object:
            where, now = self._path(path), files.read(self._who, self._path(path))
            writes = bool(pflags & asyncssh.FXF_WRITE)
            if now is None and not pflags & asyncssh.FXF_CREAT:
                raise asyncssh.SFTPNoSuchFile(f"No such file: {where}")
            if writes and (wrong := files.why_not(self._who, where)):
                raise asyncssh.SFTPPermissionDenied(f"{where}: {wrong}")
            kept = b"" if now is None or pflags & asyncssh.FXF_TRUNC else now.encode("utf-8", "surrogateescape")
            opened = Opened(where, bytearray(kept), writes, bool(pflags & asyncssh.FXF_APPEND))
            if writes:
                self._save(opened)
                if attrs.permissions is not None and now is None:
                    files.set_mode(self._who.machine, where, attrs.permissions & 0o7777)
            return opened

        def _save(self, opened: "Opened") -> None:
            wrong = files.write(self._who, opened.path, opened.data.decode("utf-8", "surrogateescape"))
            if wrong:
                raise asyncssh.SFTPPermissionDenied(f"{opened.path}: {wrong}")

        def read(self, file_obj: Any, offset: int, size: int) -> bytes:
            return bytes(file_obj.data[offset : offset + size])

        def write(self, file_obj: Any, offset: int, data: bytes) -> int:
            at = len(file_obj.data) if file_obj.appends else offset
            file_obj.data[at : at + len(data)] = data
            return len(data)

        def close(self, file_obj: Any) -> None:
            if file_obj.writes:
                self._save(file_obj)

        def _attributes(self, where: str, size: int | None = None) -> "asyncssh.SFTPAttrs":
            who = self._who
            if not files.exists(who.machine, where):
                raise asyncssh.SFTPNoSuchFile(f"No such file: {where}")
            kind = BITS_OF_DIRECTORY if files.is_directory(who.machine, where) else BITS_OF_FILE
            text = files.texts(who.machine).get(where, "")
            length = len(text.encode("utf-8", "surrogateescape")) if size is None else size
            mode = kind | files.mode(who.machine, where)
            return asyncssh.SFTPAttrs(size=length, uid=0, gid=0, permissions=mode, atime=0, mtime=0)

        def stat(self, path: bytes) -> Any:
            return self._attributes(self._path(path))

        lstat = stat

        def fstat(self, file_obj: Any) -> Any:
            return self._attributes(file_obj.path, len(file_obj.data))

        def setstat(self, path: bytes, attrs: "asyncssh.SFTPAttrs") -> None:
            where, who = self._path(path), self._who
            if who.user not in {"root", files.owner(who.machine, where)}:
                raise asyncssh.SFTPPermissionDenied(where)
            if attrs.permissions is not None:
                files.set_mode(who.machine, where, attrs.permissions & 0o7777)

        def fsetstat(self, file_obj: Any, attrs: "asyncssh.SFTPAttrs") -> None:
            self.setstat(file_obj.path.encode("utf-8", "surrogateescape"), attrs)

        async def scandir(self, path: bytes) -> "AsyncIterator[asyncssh.SFTPName]":
            where = self._path(path)
            if not files.is_directory(self._who.machine, where):
                raise asyncssh.SFTPNoSuchFile(f"No such directory: {where}")
            for name in files.children(self._who.machine, where):
                yield asyncssh.SFTPName(name.encode(), attrs=self._attributes(f"{where.rstrip('/')}/{name}"))

        def remove(self, path: bytes) -> None:
            where = self._path(path)
            if where not in files.texts(self._who.machine):
                raise asyncssh.SFTPNoSuchFile(f"No such file: {where}")
            if wrong := files.write(self._who, where, None):
                raise asyncssh.SFTPPermissionDenied(f"{where}: {wrong}")

        def mkdir(self, path: bytes, _attrs: "asyncssh.SFTPAttrs") -> None:
            where = self._path(path)
            if wrong := files.why_not(self._who, where):
                raise asyncssh.SFTPFailure(f"{where}: {wrong}")
            self._who.machine.guest.setdefault("directories", []).append(where)

        def rename(self, oldpath: bytes, newpath: bytes) -> None:
            old, new, who = self._path(oldpath), self._path(newpath), self._who
            text = files.read(who, old)
            if text is None:
                raise asyncssh.SFTPNoSuchFile(f"No such file: {old}")
            mode = files.mode(who.machine, old)
            if wrong := files.write(who, new, text) or files.write(who, old, None):
                raise asyncssh.SFTPPermissionDenied(f"{new}: {wrong}")
            files.set_mode(who.machine, new, mode)

        posix_rename = rename

    return Files(channel)


class Opened:
    """An open file; what is written lands on the disk when it is closed."""

    __slots__ = ("appends", "data", "path", "writes")

    def __init__(self, path: str, data: bytearray, writes: bool, appends: bool) -> None:
        self.path, self.data, self.writes, self.appends = path, data, writes, appends
