"""Each node's name stands for its address, and nothing else in /etc/hosts is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.systems.proxmox.hosts import hosts_with

NODES = {"lab-ampere-1": "10.0.1.11", "lab-ampere-2": "10.0.1.12"}
DEBIAN = (
    "127.0.0.1 localhost\n127.0.1.1 lab-ampere-1.public.lab.oraclevcn.com lab-ampere-1\n\n::1 localhost ip6-localhost\n"
)

NAMES = st.sampled_from([*NODES, "localhost", "registry", "lab-ampere-11"])
LINES = st.builds(
    lambda address, names, comment: " ".join([address, *names]) + comment,
    st.sampled_from(["127.0.0.1", "127.0.1.1", "10.9.9.9", "::1"]),
    st.lists(NAMES, min_size=1, max_size=3),
    st.sampled_from(["", "  # kept"]),
)


def named(text: str) -> dict[str, list[str]]:
    """Every name and the addresses that it stands for."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            found.setdefault(name, []).append(address)
    return found


def test_the_line_that_breaks_proxmox_goes() -> None:
    assert hosts_with(DEBIAN, NODES) == (
        "127.0.0.1 localhost\n\n::1 localhost ip6-localhost\n10.0.1.11 lab-ampere-1\n10.0.1.12 lab-ampere-2\n"
    )


@settings(max_examples=60)
@given(st.lists(st.one_of(LINES, st.just(""), st.just("# a comment")), max_size=6))
def test_our_names_stand_for_one_address_and_others_stay(lines: list[str]) -> None:
    before = "\n".join(lines) + "\n"
    after = hosts_with(before, NODES)
    assert {name: named(after)[name] for name in NODES} == {name: [address] for name, address in NODES.items()}
    others = {name: where for name, where in named(before).items() if name not in NODES}
    assert {name: where for name, where in named(after).items() if name not in NODES} == others
    assert hosts_with(after, NODES) == after, "the second time nothing is left to do"
