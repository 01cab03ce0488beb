"""What the data of a DNS record may be, type by type, and how Oracle writes it back."""

import ipaddress
import re
from collections.abc import Callable

NAME = re.compile(
    r"(?=.{1,253}\.?$)(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?"
)
LARGEST_PORT = 65535
LONGEST_STRING = 255
AS_WRITTEN = frozenset(
    {
        "ALIAS",
        "CERT",
        "DNAME",
        "DS",
        "HTTPS",
        "LOC",
        "NAPTR",
        "OPENPGPKEY",
        "SMIMEA",
        "SOA",
        "SSHFP",
        "SVCB",
        "TLSA",
        "URI",
    }
)
"""Types whose data is taken as it is."""


class BadData(Exception):
    """The data is not of its type. The message says why."""


def is_name(text: str) -> bool:
    return bool(NAME.fullmatch(text))


def canonical(text: str) -> str:
    """A domain as it is compared and shown: lowercase, without the final dot."""
    return text.lower().rstrip(".")


def normalised(rtype: str, rdata: str) -> str:
    """The data in the form that clients read back; BadData when it is not of that type, or nobody knows the type."""
    if rtype in AS_WRITTEN:
        if not rdata.strip():
            raise BadData("it is empty")
        return rdata
    if rtype not in FORMS:
        raise BadData(f"{rtype!r} is not a type of record")
    return FORMS[rtype](rdata.strip())


def _address(kind: Callable[[str], object], name: str) -> Callable[[str], str]:
    def form(text: str) -> str:
        try:
            return str(kind(text))
        except ValueError:
            raise BadData(f"{text!r} is not an {name} address") from None

    return form


def _name(text: str) -> str:
    if not is_name(text):
        raise BadData(f"{text!r} is not a domain name")
    return canonical(text) + "."


def _numbers_then_name(*what: str) -> Callable[[str], str]:
    def form(text: str) -> str:
        *numbers, target = text.split() or [""]
        if len(numbers) != len(what) or not all(_is_short(number) for number in numbers):
            raise BadData(f"{text!r} is not written as: {' '.join(what)} target")
        return " ".join([*numbers, "." if target == "." else _name(target)])

    return form


def _is_short(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= LARGEST_PORT


def _texts(text: str) -> str:
    """One or more strings in quotes; what comes without quotes is one string."""
    if not text.startswith('"'):
        parts = [_escaped(text)]
    elif re.fullmatch(r'("(?:[^"\\]|\\.)*"\s*)+', text, re.DOTALL):
        parts = re.findall(r'"((?:[^"\\]|\\.)*)"', text, re.DOTALL)
    else:
        raise BadData(f"{text!r} has quotes that do not match")
    if any(len(part.encode()) > LONGEST_STRING for part in parts):
        raise BadData(f"one string of it has more than {LONGEST_STRING} bytes; write several in quotes")
    return " ".join(f'"{part}"' for part in parts)


def _escaped(text: str) -> str:
    """Pairs that a backslash begins stay; a quote, and a backslash with nothing after it, get one."""
    return re.sub(r'\\.|["\\]', lambda m: m[0] if len(m[0]) == 2 else f"\\{m[0]}", text, flags=re.DOTALL)


def _authority(text: str) -> str:
    match = re.fullmatch(r'(\d{1,3})\s+(issue|issuewild|iodef)\s+"?([^"]*)"?', text)
    if match is None:
        raise BadData(f'{text!r} is not written as: flags tag "value"')
    return f'{match[1]} {match[2]} "{match[3]}"'


FORMS: dict[str, Callable[[str], str]] = {
    "A": _address(ipaddress.IPv4Address, "IPv4"),
    "AAAA": _address(ipaddress.IPv6Address, "IPv6"),
    "CAA": _authority,
    "CNAME": _name,
    "MX": _numbers_then_name("preference"),
    "NS": _name,
    "PTR": _name,
    "SRV": _numbers_then_name("priority", "weight", "port"),
    "TXT": _texts,
}
