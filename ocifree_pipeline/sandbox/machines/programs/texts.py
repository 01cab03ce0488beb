"""Programs that read and write text."""

import base64
import hashlib
import re

from ocifree_pipeline.sandbox.machines import files
from ocifree_pipeline.sandbox.machines.session import Command, Result, Steps, Who, Words, read_all

MANY = 2000


def _contents(who: Who, name: str, paths: list[str]) -> tuple[list[tuple[str, str]], str]:
    """Path and content of each file that can be read, and what is said about the others."""
    found, err = [], ""
    for path in paths:
        content = files.read(who, path)
        if content is not None:
            found.append((path, content))
        elif files.is_directory(who.machine, files.absolute(who, path)):
            err += f"{name}: {path}: Is a directory\n"
        elif files.exists(who.machine, files.absolute(who, path)):
            err += f"{name}: {path}: Permission denied\n"
        else:
            err += f"{name}: {path}: No such file or directory\n"
    return found, err


def _cat(who: Who, words: Words) -> Steps:
    out, err = "", ""
    for path in [word for word in words if word == "-" or not word.startswith("-")] or ["-"]:
        if path == "-":
            out += yield from read_all(who.stdin)
            continue
        found, wrong = _contents(who, "cat", [path])
        out, err = out + "".join(text for _, text in found), err + wrong
    yield Result(1 if err else 0, out, err)
    return 1 if err else 0


def _echo(_who: Who, words: Words) -> Result:
    if words[:1] == ("-n",):
        return Result(0, " ".join(words[1:]))
    if words[:1] == ("-e",):
        return Result(0, _escaped(" ".join(words[1:])) + "\n")
    return Result(0, " ".join(words) + "\n")


def _printf(_who: Who, words: Words) -> Result:
    if not words:
        return Result(2, err="printf: usage: printf format [arguments]\n")
    form, values = _escaped(words[0]), list(words[1:])
    if "%" not in form.replace("%%", ""):
        return Result(0, form.replace("%%", "%"))
    out, first = "", True
    while values or first:
        first = False
        out += re.sub(r"%([sdb%])", lambda m: "%" if m[1] == "%" else values.pop(0) if values else "", form)
    return Result(0, out)


def _escaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")


def _tee(who: Who, words: Words) -> Steps:
    text = yield from read_all(who.stdin)
    appends = "-a" in words or "--append" in words
    code, err = 0, ""
    for path in [word for word in words if not word.startswith("-")]:
        before = (files.read(who, path) or "") if appends else ""
        if wrong := files.write(who, path, before + text):
            code, err = 1, err + f"tee: {path}: {wrong}\n"
    yield Result(code, text, err)
    return code


def _input(who: Who, name: str, paths: list[str]) -> Steps:
    """Yields what is wrong; the text is left in ``who.stdin`` for the caller."""
    if not paths:
        text = yield from read_all(who.stdin)
        who.stdin.text = text
        return 0
    found, err = _contents(who, name, paths)
    who.stdin.text, who.stdin.closed = "".join(text for _, text in found), True
    if err:
        yield Result(2, err=err)
    return 2 if err else 0


def _grep(who: Who, words: Words) -> Steps:
    options = "".join(word[1:] for word in words if re.fullmatch(r"-[A-Za-z]+", word))
    rest = [word for word in words if not re.fullmatch(r"-[A-Za-z]+", word) and word != "--"]
    if unknown := set(options) - set("qFEivcxnhsoP"):
        yield Result(2, err=f"grep: option '{min(unknown)}' is not played by this guest of the sandbox\n")
        return 2
    if not rest:
        yield Result(2, err="Usage: grep [OPTION]... PATTERNS [FILE]...\n")
        return 2
    code = yield from _input(who, "grep", rest[1:])
    pattern = re.escape(rest[0]) if "F" in options else rest[0]
    if "F" not in options and not {"E", "P"} & set(options):
        pattern = re.sub(r"\\([|+?(){}])", r"\1", re.sub(r"(?<!\\)([|+?(){}])", r"[\1]", pattern))
    try:
        wanted = re.compile(f"^(?:{pattern})$" if "x" in options else pattern, re.I if "i" in options else 0)
    except re.error as error:
        yield Result(2, err=f"grep: {error}\n")
        return 2
    lines = [line for line in who.stdin.text.splitlines() if bool(wanted.search(line)) != ("v" in options)]
    if "o" in options:
        lines = [match[0] for line in lines for match in wanted.finditer(line)]
    out = f"{len(lines)}\n" if "c" in options else "".join(f"{line}\n" for line in lines)
    yield Result(0, "" if "q" in options else out)
    return code or (0 if lines else 1)


def _ends(who: Who, words: Words, *, head: bool) -> Steps:
    count, paths, rest = 10, list[str](), list(words)
    while rest:
        word = rest.pop(0)
        if word in {"-n", "-c"} and rest:
            word += rest.pop(0)
        if match := re.fullmatch(r"-n?(\d+)", word):
            count = int(match[1])
        elif word.startswith("-"):
            yield Result(2, err=f"{'head' if head else 'tail'}: {word} is not played by this guest of the sandbox\n")
            return 2
        else:
            paths.append(word)
    code = yield from _input(who, "head" if head else "tail", paths)
    lines = who.stdin.text.splitlines(keepends=True)
    yield Result(code, "".join(lines[:count] if head else lines[-count:] if count else []))
    return code


def _wc(who: Who, words: Words) -> Steps:
    code = yield from _input(who, "wc", [word for word in words if not word.startswith("-")])
    text = who.stdin.text
    sizes = {"-l": text.count("\n"), "-w": len(text.split()), "-c": len(text.encode())}
    wanted = [word for word in words if word in sizes] or list(sizes)
    yield Result(code, " ".join(str(sizes[one]) for one in wanted) + "\n")
    return code


def _sort(who: Who, words: Words) -> Steps:
    code = yield from _input(who, "sort", [word for word in words if not word.startswith("-")])
    lines = sorted(who.stdin.text.splitlines(), reverse="-r" in words)
    lines = list(dict.fromkeys(lines)) if "-u" in words else lines
    yield Result(code, "".join(f"{line}\n" for line in lines))
    return code


def _base64(who: Who, words: Words) -> Steps:
    code = yield from _input(who, "base64", [word for word in words if not word.startswith("-") and word != "0"])
    raw = who.stdin.text
    try:
        text = base64.b64decode(raw).decode() if {"-d", "--decode"} & set(words) else None
    except ValueError:
        yield Result(1, err="base64: invalid input\n")
        return 1
    yield Result(code, base64.b64encode(raw.encode()).decode() + "\n" if text is None else text)
    return code


def _checksum(who: Who, words: Words) -> Steps:
    paths = [word for word in words if not word.startswith("-")]
    if not paths:
        text = yield from read_all(who.stdin)
        yield Result(0, f"{hashlib.sha256(text.encode()).hexdigest()}  -\n")
        return 0
    found, err = _contents(who, "sha256sum", paths)
    out = "".join(
        f"{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}  {at}\n" for at, text in found
    )
    yield Result(1 if err else 0, out, err)
    return 1 if err else 0


COMMANDS: dict[str, Command] = {
    "cat": _cat,
    "echo": _echo,
    "printf": _printf,
    "tee": _tee,
    "grep": _grep,
    "head": lambda who, words: _ends(who, words, head=True),
    "tail": lambda who, words: _ends(who, words, head=False),
    "wc": _wc,
    "sort": _sort,
    "base64": _base64,
    "sha256sum": _checksum,
    "yes": lambda _who, words: Result(0, f"{' '.join(words) or 'y'}\n" * MANY),
}
