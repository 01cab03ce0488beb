"""Programs about files and directories."""

import re

from ocifree_pipeline.sandbox.machines import files
from ocifree_pipeline.sandbox.machines.session import Command, Result, Steps, Who, Words, read_all


def _test(who: Who, words: Words) -> Result:
    negated = words[:1] == ("!",)
    rest = words[1:] if negated else words
    truth = _truth(who, rest)
    if truth is None:
        return Result(2, err=f"test: {' '.join(rest)}: not played by this guest of the sandbox\n")
    return Result(0 if truth != negated else 1)


def _truth(who: Who, words: Words) -> bool | None:
    machine = who.machine
    match words:
        case ():
            return False
        case ("-e" | "-r", path):
            return files.exists(machine, files.absolute(who, path))
        case ("-w", path):
            return files.exists(machine, files.absolute(who, path)) and not files.why_not(who, path)
        case ("-f", path):
            return files.absolute(who, path) in files.texts(machine)
        case ("-s", path):
            return bool(files.texts(machine).get(files.absolute(who, path)))
        case ("-d", path):
            return files.is_directory(machine, files.absolute(who, path))
        case ("-x", path):
            return bool(files.mode(machine, files.absolute(who, path)) & 0o111)
        case ("-b", path):
            return path in files.DEVICES and path.startswith("/dev/sd")
        case ("-c", path):
            return path in files.DEVICES and not path.startswith("/dev/sd")
        case ("-n", text):
            return bool(text)
        case ("-z", text):
            return not text
        case (left, "=" | "==", right):
            return left == right
        case (left, "!=", right):
            return left != right
        case (left, "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" as how, right) if _are_numbers(left, right):
            one, other = int(left), int(right)
            table = {"-eq": one == other, "-ne": one != other, "-lt": one < other, "-le": one <= other}
            return table.get(how, one > other if how == "-gt" else one >= other)
        case (text,):
            return bool(text)
        case _:
            return None


def _are_numbers(*words: str) -> bool:
    return all(re.fullmatch(r"-?\d+", word) for word in words)


def _bracket(who: Who, words: Words) -> Result:
    if words[-1:] != ("]",):
        return Result(2, err="[: missing `]'\n")
    return _test(who, words[:-1])


def _ls(who: Who, words: Words) -> Result:
    paths = [word for word in words if not word.startswith("-")] or [files.home(who.user)]
    out, err = [], []
    for path in paths:
        where = files.absolute(who, path)
        if files.is_directory(who.machine, where) and "-d" not in words:
            out += files.children(who.machine, where)
        elif files.exists(who.machine, where):
            out.append(path)
        else:
            err.append(f"ls: cannot access '{path}': No such file or directory\n")
    return Result(2 if err else 0, "".join(f"{one}\n" for one in out), "".join(err))


def _mkdir(who: Who, words: Words) -> Result:
    paths, mode = _with_mode(words)
    err = ""
    for path in paths:
        where = files.absolute(who, path)
        if files.is_directory(who.machine, where):
            err += "" if "-p" in words else f"mkdir: cannot create directory '{path}': File exists\n"
            continue
        err += _make_directory(who, where, path, parents="-p" in words)
        if mode is not None and not err:
            files.set_mode(who.machine, where, mode)
    return Result(1 if err else 0, err=err)


def _make_directory(who: Who, where: str, path: str, *, parents: bool) -> str:
    known = who.machine.guest.setdefault("directories", [])
    steps = where.strip("/").split("/")
    for depth in range(1, len(steps) + 1):
        here = "/" + "/".join(steps[:depth])
        if files.is_directory(who.machine, here):
            continue
        if depth < len(steps) and not parents:
            return f"mkdir: cannot create directory '{path}': No such file or directory\n"
        if wrong := files.why_not(who, here):
            return f"mkdir: cannot create directory '{path}': {wrong}\n"
        known.append(here)
        if files.owner(who.machine, here) != who.user:
            files.set_mode(who.machine, here, user=who.user)
    return ""


def _rm(who: Who, words: Words) -> Result:
    err, options = "", "".join(word[1:] for word in words if word.startswith("-"))
    for path in _spelled_out(who, [word for word in words if not word.startswith("-")]):
        where = files.absolute(who, path)
        inside = [one for one in files.texts(who.machine) if one.startswith(where + "/")]
        if files.is_directory(who.machine, where):
            if "r" not in options and "R" not in options:
                err += f"rm: cannot remove '{path}': Is a directory\n"
                continue
            for one in inside:
                err += _removed(who, one)
            known = who.machine.guest.get("directories", [])
            known[:] = [one for one in known if one != where and not one.startswith(where + "/")]
        elif where in files.texts(who.machine):
            err += _removed(who, where)
        elif "f" not in options:
            err += f"rm: cannot remove '{path}': No such file or directory\n"
    return Result(1 if err else 0, err=err)


def _spelled_out(who: Who, paths: list[str]) -> list[str]:
    """``/folder/*`` stands for what is in it."""
    found: list[str] = []
    for path in paths:
        folder = files.absolute(who, path[:-2]) if path.endswith("/*") else ""
        names = files.children(who.machine, folder) if folder else []
        found += [f"{folder}/{name}" for name in names] or [path]
    return found


def _removed(who: Who, path: str) -> str:
    wrong = files.write(who, path, None)
    return f"rm: cannot remove '{path}': {wrong}\n" if wrong else ""


def _copy(who: Who, words: Words, *, move: bool) -> Result:
    name = "mv" if move else "cp"
    paths = [word for word in words if not word.startswith("-")]
    if len(paths) != 2:
        return Result(1, err=f"{name}: only one source and one destination are played by this guest of the sandbox\n")
    content = files.read(who, paths[0])
    if content is None:
        return Result(1, err=f"{name}: cannot stat '{paths[0]}': No such file or directory\n")
    source, target = files.absolute(who, paths[0]), files.absolute(who, paths[1])
    if files.is_directory(who.machine, target):
        target += "/" + source.rpartition("/")[2]
    mode = files.mode(who.machine, source)
    if wrong := files.write(who, target, content):
        return Result(1, err=f"{name}: cannot create regular file '{target}': {wrong}\n")
    if mode != files.mode(who.machine, target):
        files.set_mode(who.machine, target, mode)
    if move and (wrong := files.write(who, source, None)):
        return Result(1, err=f"{name}: cannot remove '{source}': {wrong}\n")
    return Result(0)


def _chmod(who: Who, words: Words) -> Result:
    rest = [word for word in words if not word.startswith("-")]
    if len(rest) < 2 or not (re.fullmatch(r"[0-7]{3,4}", rest[0]) or re.fullmatch(r"[ugoa]*[+-][rwx]+", rest[0])):
        return Result(1, err=f"chmod: {' '.join(words)!r} is not played by this guest of the sandbox\n")
    err = ""
    for path in rest[1:]:
        where = files.absolute(who, path)
        if not files.exists(who.machine, where):
            err += f"chmod: cannot access '{path}': No such file or directory\n"
        elif who.user not in {"root", files.owner(who.machine, where)}:
            err += f"chmod: changing permissions of '{path}': Operation not permitted\n"
        else:
            files.set_mode(who.machine, where, _bits(rest[0], files.mode(who.machine, where)))
    return Result(1 if err else 0, err=err)


def _bits(text: str, now: int) -> int:
    if text[0].isdigit():
        return int(text, 8)
    who, sign, what = re.split(r"([+-])", text)
    mask = sum({"r": 4, "w": 2, "x": 1}[one] for one in set(what))
    places = {"u": 6, "g": 3, "o": 0}
    change = sum(mask << at for one, at in places.items() if one in (who or "a").replace("a", "ugo"))
    return now | change if sign == "+" else now & ~change


def _chown(who: Who, words: Words) -> Result:
    rest = [word for word in words if not word.startswith("-")]
    if who.user != "root":
        return Result(1, err="chown: Operation not permitted\n")
    user, err = rest[0].partition(":")[0] if rest else "", ""
    if user not in {"root", "www-data", *who.machine.guest["users"]}:
        return Result(1, err=f"chown: invalid user: '{rest[0] if rest else ''}'\n")
    for path in rest[1:]:
        where = files.absolute(who, path)
        if files.exists(who.machine, where):
            files.set_mode(who.machine, where, user=user)
        else:
            err += f"chown: cannot access '{path}': No such file or directory\n"
    return Result(1 if err else 0, err=err)


def _install(who: Who, words: Words) -> Steps:
    """``install -d DIR``, ``install [-m MODE] [-o USER] FILE TARGET``; ``/dev/stdin`` is what is given."""
    paths, mode = _with_mode(words, "-o", "-g")
    if "-d" in words:
        done = _mkdir(who, ("-p", *(("-m", f"{mode:o}") if mode is not None else ()), *paths))
        yield done
        return done.code
    if len(paths) != 2:
        yield Result(1, err=f"install: {' '.join(words)!r} is not played by this guest of the sandbox\n")
        return 1
    if paths[0] in {"/dev/stdin", "-"}:
        content: str | None = yield from read_all(who.stdin)
    else:
        content = files.read(who, paths[0])
    target = files.absolute(who, paths[1])
    if content is None:
        yield Result(1, err=f"install: cannot stat '{paths[0]}': No such file or directory\n")
        return 1
    if files.is_directory(who.machine, target):
        target += "/" + paths[0].rpartition("/")[2]
    if "-D" in words:
        _make_directory(who, target.rpartition("/")[0], target, parents=True)
    if wrong := files.write(who, target, content):
        yield Result(1, err=f"install: cannot create regular file '{target}': {wrong}\n")
        return 1
    owner = words[words.index("-o") + 1] if "-o" in words[:-1] else None
    files.set_mode(who.machine, target, 0o755 if mode is None else mode, owner)
    return 0


def _with_mode(words: Words, *with_value: str) -> tuple[list[str], int | None]:
    """What is no option, and the mode that was asked for."""
    paths, mode, rest = list[str](), None, list(words)
    while rest:
        word = rest.pop(0)
        if word in {"-m", *with_value} and rest:
            value = rest.pop(0)
            mode = int(value, 8) if word == "-m" and re.fullmatch(r"[0-7]+", value) else mode
        elif word.startswith("--mode="):
            mode = int(word.partition("=")[2], 8)
        elif word.startswith("-m") and word[2:].isdigit():
            mode = int(word[2:], 8)
        elif word == "-" or not word.startswith("-"):
            paths.append(word)
    return paths, mode


def _stat(who: Who, words: Words) -> Result:
    match words:
        case ("-c" | "--format", form, path) if files.exists(who.machine, files.absolute(who, path)):
            where = files.absolute(who, path)
            size = len(files.texts(who.machine).get(where, "").encode("utf-8", "surrogateescape"))
            values = {"%a": f"{files.mode(who.machine, where):o}", "%U": files.owner(who.machine, where)}
            values |= {"%s": str(size), "%n": path, "%G": files.owner(who.machine, where)}
            return Result(0, re.sub("%[aUsnG]", lambda match: values[match[0]], form) + "\n")
        case (*_, path):
            return Result(1, err=f"stat: cannot statx '{path}': No such file or directory\n")
    return Result(1, err="stat: missing operand\n")


def _touch(who: Who, words: Words) -> Result:
    err = ""
    for path in [word for word in words if not word.startswith("-")]:
        if files.absolute(who, path) not in files.texts(who.machine) and (wrong := files.write(who, path, "")):
            err += f"touch: cannot touch '{path}': {wrong}\n"
    return Result(1 if err else 0, err=err)


def _mktemp(who: Who, words: Words) -> Result:
    path = f"/tmp/tmp.{who.machine.world.fresh('mktemp', 10)}"  # noqa: S108 - a file of the guest
    if "-d" in words:
        who.machine.guest.setdefault("directories", []).append(path)
    else:
        files.write(who, path, "")
    files.set_mode(who.machine, path, 0o700 if "-d" in words else 0o600, who.user)
    return Result(0, f"{path}\n")


def _readlink(who: Who, words: Words) -> Result:
    paths = [word for word in words if not word.startswith("-")]
    return Result(0, "".join(f"{files.absolute(who, path)}\n" for path in paths))


COMMANDS: dict[str, Command] = {
    "test": _test,
    "[": _bracket,
    "ls": _ls,
    "mkdir": _mkdir,
    "rm": _rm,
    "cp": lambda who, words: _copy(who, words, move=False),
    "mv": lambda who, words: _copy(who, words, move=True),
    "chmod": _chmod,
    "chown": _chown,
    "install": _install,
    "stat": _stat,
    "touch": _touch,
    "mktemp": _mktemp,
    "readlink": _readlink,
    "realpath": _readlink,
}
