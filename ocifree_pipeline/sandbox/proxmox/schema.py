"""Parameters of methods, and the strict way in which Proxmox looks at them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Literal

from ocifree_pipeline.sandbox.proxmox.errors import wrong_parameters

UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
MISSING = "property is missing and it is not optional"
INDEXED = re.compile(r"(?P<name>[a-z-]+)\[n\]")
MOST_INDEX = 255

Kind = Literal["string", "integer", "number", "boolean"]
Format = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Parameter:
    """``format`` is the name of one of ``FORMATS``. ``many``: separated by commas, or sent more than once."""

    kind: Kind = "string"
    required: bool = False
    choices: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None
    longest: int | None = None
    pattern: str = ""
    format: str = ""
    many: bool = False


def text(*, required: bool = False, longest: int | None = None, pattern: str = "", many: bool = False) -> Parameter:
    return Parameter("string", required, longest=longest, pattern=pattern, many=many)


def form(name: str, *, required: bool = False, longest: int | None = None, many: bool = False) -> Parameter:
    """A text of a known format."""
    return Parameter("string", required, format=name, longest=longest, many=many)


def one_of(*choices: str, required: bool = False) -> Parameter:
    return Parameter("string", required, choices=choices)


def whole(lowest: int | None = None, highest: int | None = None, *, required: bool = False) -> Parameter:
    return Parameter("integer", required, lowest=lowest, highest=highest)


def number(lowest: float | None = None, highest: float | None = None) -> Parameter:
    return Parameter("number", lowest=lowest, highest=highest)


def flag(*, required: bool = False) -> Parameter:
    return Parameter("boolean", required)


def _is(parse: Callable[[str], Any]) -> Format:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


def _matches(pattern: str) -> Format:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


NAME = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
FORMATS: Mapping[str, tuple[Format, str]] = {
    "pve-node": (_matches(NAME), "value does not look like a valid node name"),
    "pve-vmid": (_matches(r"[1-9][0-9]{2,8}"), "value does not look like a valid VM ID"),
    "pve-storage-id": (_matches(r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]"), "storage ID contains illegal characters"),
    "pve-sdn-id": (_matches(r"[a-zA-Z][a-zA-Z0-9]{1,7}"), "ID contains illegal characters"),
    "pve-configid": (_matches(r"[A-Za-z][A-Za-z0-9_-]+"), "invalid configuration ID"),
    "pve-userid": (_matches(r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+"), "value does not look like a valid user name"),
    "pve-roleid": (_matches(r"[A-Za-z0-9.\-_]+"), "invalid role name"),
    "pve-realm": (_matches(r"[A-Za-z][A-Za-z0-9.\-_]+"), "value does not look like a valid realm"),
    "pve-iface": (_matches(r"[a-zA-Z][a-zA-Z0-9_]{1,20}([:.]\d+)?"), "invalid network interface name"),
    "dns-name": (_matches(rf"({NAME}\.)*{NAME}\.?"), "value does not look like a valid DNS name"),
    "ip": (_is(ip_address), "value does not look like a valid IP address"),
    "CIDR": (_is(ip_interface), "value does not look like a valid CIDR network"),
    "network": (_is(ip_network), "value does not look like a valid CIDR network"),
    "fingerprint": (_matches(r"([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}"), "value does not look like a SHA256 fingerprint"),
    "digest": (_matches(r"[0-9a-f]{40}"), "value does not look like a SHA1 digest"),
}

Values = dict[str, Any]


def validate(parameters: Mapping[str, Parameter], given: Mapping[str, str | list[str]]) -> Values:
    """The values as their types; ApiError 400 names everything that is wrong."""
    found: Values = {}
    errors: dict[str, str] = {}
    for name, value in given.items():
        parameter = _find(parameters, name)
        if parameter is None:
            errors[name] = UNKNOWN
            continue
        try:
            found[name] = _typed(parameter, value)
        except ValueError as error:
            errors[name] = str(error)
    for name, parameter in parameters.items():
        if parameter.required and name not in given:
            errors[name] = MISSING
    if errors:
        raise wrong_parameters(errors)
    return found


def _find(parameters: Mapping[str, Parameter], name: str) -> Parameter | None:
    if name in parameters:
        return parameters[name] if "[n]" not in name else None
    match = re.fullmatch(r"([a-z-]+?)(\d{1,3})", name)
    if match is None or int(match[2]) > MOST_INDEX or (len(match[2]) > 1 and match[2][0] == "0"):
        return None
    return parameters.get(f"{match[1]}[n]")


def _typed(parameter: Parameter, value: str | list[str]) -> Any:
    if parameter.many:
        pieces = value if isinstance(value, list) else re.split(r"[,; ]+", value) if value else []
        return [_one(parameter, piece) for piece in pieces if piece]
    if isinstance(value, list):
        raise ValueError(f"type check ('{parameter.kind}') failed - got ARRAY")
    return _one(parameter, value)


def _one(parameter: Parameter, value: str) -> Any:
    typed = _converted(parameter, value)
    if parameter.choices and value not in parameter.choices:
        raise ValueError(f"value '{value}' does not have a value in the enumeration '{', '.join(parameter.choices)}'")
    if parameter.longest is not None and len(value) > parameter.longest:
        raise ValueError(f"value may only be {parameter.longest} characters long")
    if parameter.lowest is not None and typed < parameter.lowest:
        raise ValueError(f"value must have a minimum value of {parameter.lowest}")
    if parameter.highest is not None and typed > parameter.highest:
        raise ValueError(f"value must have a maximum value of {parameter.highest}")
    if parameter.pattern and re.fullmatch(parameter.pattern, value) is None:
        raise ValueError("value does not match the regex pattern")
    if parameter.format:
        check, complaint = FORMATS[parameter.format]
        if not check(value):
            raise ValueError(f"invalid format - {complaint}\n")
    return typed


def _converted(parameter: Parameter, value: str) -> Any:
    if parameter.kind == "boolean":
        if value not in {"0", "1"}:
            raise ValueError(f"type check ('boolean') failed - got '{value}'")
        return int(value)
    if parameter.kind == "integer":
        if re.fullmatch(r"-?\d{1,18}", value) is None:
            raise ValueError(f"type check ('integer') failed - got '{value}'")
        return int(value)
    if parameter.kind == "number":
        if re.fullmatch(r"-?\d{1,18}(\.\d+)?", value) is None:
            raise ValueError(f"type check ('number') failed - got '{value}'")
        return float(value) if "." in value else int(value)
    return value


def property_string(value: str, default: str = "") -> dict[str, str]:
    """``local:8,size=2G`` and the like; a piece without a name belongs to ``default``. ValueError: it is none."""
    found: dict[str, str] = {}
    for piece in value.split(","):
        if not piece.strip():
            continue
        name, equals, content = piece.partition("=")
        if not equals:
            name, content = default, piece
        if not name or name in found:
            raise ValueError(f"invalid format - {'duplicate key' if name else 'value without key'} in '{value}'\n")
        found[name] = content
    return found


def joined(values: Mapping[str, Any], default: str = "") -> str:
    """The property string of these values."""
    return ",".join(str(value) if name == default else f"{name}={value}" for name, value in values.items())
