"""Requests that look almost right: for any operation of the sandbox, bodies of the right shape with wild values."""

import importlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st

from ocifree_pipeline.sandbox.oracle.wire import HOSTS, OPERATIONS, Operation

DEEPEST = 3
LIST, DICT = re.compile(r"list\[(.+)\]"), re.compile(r"dict\(str, (.+)\)")
WORDS = (
    "10.0.0.0/16",
    "10.0.1.0/24",
    "10.0.1.7",
    "::/0",
    "fd00::/56",
    "999.0.0.0/0",
    "all",
    "6",
    "A",
    "ACTIVE",
    "VM.Standard.A1.Flex",
    "VM.Standard.E2.1.Micro",
    "Kfkm:UK-LONDON-1-AD-1",
    "FAULT-DOMAIN-1",
    "FULL",
    "zero compute-core quotas in tenancy",
    "Allow group A to read all-resources in tenancy",
    "example.com",
    "2026-01-01T00:00:00Z",
    "me@example.com",
    "",
    "..",
    "a/b",
    "\x00",
    "ünï",
    "x" * 300,
)
ALIASES = {
    "tenancy": "compartment",
    "tenant": "compartment",
    "rt": "routetable",
    "ig": "internetgateway",
    "networkentity": "internetgateway",
    "nsg": "networksecuritygroup",
    "dhcp": "dhcpoptions",
    "target": "compartment",
    "targetcompartment": "compartment",
    "zone": "dnszone",
}
NUMBERS = (-1, 0, 1, 2, 50, 65535, 65536, 10**18)


@dataclass(frozen=True)
class Known:
    """What exists in the world, by kind: the names by which requests may ask for it.

    ``calm`` requests ask for nothing else where a name is wanted, so that they come further.
    """

    kinds: tuple[tuple[str, tuple[str, ...]], ...]
    calm: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, names in self.kinds for name in names)

    def fitting(self, parameter: str) -> tuple[str, ...]:
        """Names of the kind that a parameter such as ``bootVolumeId`` speaks of; any if it speaks of none."""
        wanted = re.sub("(Ids?|Name|OrId)$", "", parameter).lower()
        fitting = [name for kind, names in self.kinds if kind == ALIASES.get(wanted, wanted) for name in names]
        return tuple(fitting)


def operations() -> list[Operation]:
    return [one for operations in OPERATIONS.values() for one in operations]


@cache
def texts(parameter: str, known: Known) -> st.SearchStrategy[str]:
    """Mostly what the parameter asks for; else something that exists, means something elsewhere, or anything."""
    fitting = known.fitting(parameter)
    anything = st.one_of(st.sampled_from(known.names), st.sampled_from(WORDS), st.text(max_size=12))
    if not fitting:
        return anything
    right = st.sampled_from(fitting)
    return right if known.calm else st.one_of(right, right, right, anything)


@cache
def bodies(model: str, known: Known, depth: int = 0) -> st.SearchStrategy[Any]:
    """Some fields of a model, each with a value of its type; now and then something else altogether."""
    package, _, name = model.rpartition(".")
    cls = getattr(importlib.import_module(package), name)
    empty = cls()
    fields: dict[str, st.SearchStrategy[Any]] = {}
    required = set()
    for attribute, kind in empty.swagger_types.items():
        field = empty.attribute_map[attribute]
        enum = _enum(cls, attribute)
        fields[field] = (
            st.sampled_from(enum) if enum and kind == "str" else _of_kind(kind, field, package, known, depth)
        )
        if "**[Required]**" in (getattr(cls, attribute).__doc__ or ""):
            required.add(field)
    right = st.fixed_dictionaries(
        {field: value for field, value in fields.items() if field in required},
        optional={field: value for field, value in fields.items() if field not in required},
    )
    return right if depth else st.one_of(right, right, right, right, st.none() | st.lists(st.text(max_size=5)))


def _enum(cls: type, attribute: str) -> list[str]:
    return [
        value
        for constant, value in vars(cls).items()
        if isinstance(value, str) and constant.isupper() and constant.startswith(attribute.upper() + "_")
    ]


@cache
def _of_kind(kind: str, field: str, package: str, known: Known, depth: int) -> st.SearchStrategy[Any]:
    if match := LIST.fullmatch(kind):
        return st.lists(_of_kind(match[1], field, package, known, depth + 1), max_size=2)
    if match := DICT.fullmatch(kind):
        return st.dictionaries(st.text(max_size=4), _of_kind(match[1], field, package, known, depth + 1), max_size=2)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "str": texts(field, known),
        "int": st.sampled_from(NUMBERS),
        "float": st.sampled_from(NUMBERS) | st.floats(0, 1000, allow_nan=False),
        "bool": st.booleans(),
        "datetime": st.just("2026-06-01T00:00:00.000Z"),
        "date": st.just("2026-06-01"),
        "object": st.none() | st.text(max_size=3) | st.integers(),
    }
    if kind in simple:
        return simple[kind]
    if depth >= DEEPEST:
        return st.just({})
    return _model(kind if "." in kind else f"{package}.{kind}", known, depth + 1)


def _model(model: str, known: Known, depth: int) -> st.SearchStrategy[Any]:
    """A nested model; of one with kinds, any of its kinds, told by the value that the kind's class sets itself."""
    package, _, name = model.rpartition(".")
    module = importlib.import_module(package)
    base = getattr(module, name, None)
    if base is None:  # the package names some enums that it has no class for
        return texts("", known)
    if "get_subtype" not in base.__dict__:
        return bodies(model, known, depth)
    kinds = [
        one for one in vars(module).values() if isinstance(one, type) and issubclass(one, base) and one is not base
    ]
    empties = [kind() for kind in kinds]
    return st.one_of(
        *(
            st.builds(
                lambda body, told: body | told, bodies(f"{package}.{kind.__name__}", known, depth), st.just(_told(e))
            )
            for kind, e in zip(kinds, empties, strict=True)
        )
    )


def _told(empty: Any) -> dict[str, str]:
    return {
        empty.attribute_map[attribute]: value
        for attribute in empty.swagger_types
        if isinstance(value := getattr(empty, attribute, None), str)
    }


def host(operation: Operation) -> str:
    """The host that answers for an operation."""
    return HOSTS[operation.service][1][0].format(region="uk-london-1", namespace="space")


def path(operation: Operation) -> str:
    """The path of an operation, its parameters still in braces."""
    return HOSTS[operation.service][0] + operation.template
