"""Every method that is served looks at its parameters as strictly as Proxmox does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox.proxmox import methods, schema
from ocifree_pipeline.sandbox.proxmox.access import Caller
from ocifree_pipeline.sandbox.proxmox.console import AS_ROOT
from ocifree_pipeline.sandbox.proxmox.errors import ApiError
from ocifree_pipeline.sandbox.proxmox.methods import Method
from ocifree_pipeline_tests.sandbox.proxmox.rig import Rig

PLACES = {
    "node": "pve1",
    "vmid": "100",
    "storage": "local",
    "userid": "a@pve",
    "tokenid": "tok",
    "zone": "zone1",
    "flag": "noout",
}
METHODS = methods.load()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return Rig.of(tmp_path_factory.mktemp("one"), 1)


def path_of(one: Method) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: PLACES.get(match[1], "thing"), one.path)


def complaints(rig: Rig, one: Method, given: dict[str, str | list[str]]) -> dict[str, str]:
    with pytest.raises(ApiError) as caught:
        methods.invoke(rig.node(), AS_ROOT, one.verb, path_of(one), given)
    assert caught.value.status == 400, (one.name, caught.value)
    return caught.value.errors


@pytest.mark.parametrize("one", METHODS, ids=lambda one: one.name)
def test_parameters_are_checked_before_anything_is_done(rig: Rig, one: Method) -> None:
    inside = set(re.findall(r"\{(\w+)\}", one.path))
    assert complaints(rig, one, {"nonsense": "1"})["nonsense"] == schema.UNKNOWN
    found = complaints(rig, one, {"nonsense": "1"})
    for name, parameter in one.parameters.items():
        if name in inside:
            continue
        if parameter.required:
            assert found[name] == schema.MISSING
        real = name.replace("[n]", "0")
        wrong = {"boolean": "True", "integer": "x", "number": "x"}.get(parameter.kind)
        if wrong is not None:
            said = complaints(rig, one, {"nonsense": "1", real: wrong})[real]
            assert said == f"type check ('{parameter.kind}') failed - got '{wrong}'"
        if parameter.choices:
            assert "enumeration" in complaints(rig, one, {"nonsense": "1", real: "no-such-choice"})[real]
        if parameter.format and not parameter.many:
            assert "invalid format" in complaints(rig, one, {"nonsense": "1", real: "/ no /"})[real]
        if parameter.longest is not None:
            assert real in complaints(rig, one, {"nonsense": "1", real: "a" * (parameter.longest + 1)})
        if parameter.lowest is not None:
            assert "minimum" in complaints(rig, one, {"nonsense": "1", real: str(int(parameter.lowest) - 1)})[real]
        if parameter.highest is not None:
            assert "maximum" in complaints(rig, one, {"nonsense": "1", real: str(int(parameter.highest) + 1)})[real]


@pytest.mark.parametrize("one", METHODS, ids=lambda one: one.name)
def test_whoever_may_nothing_gets_nothing_that_is_not_for_everybody(rig: Rig, one: Method) -> None:
    if one.may is methods.everybody or one.public:
        return
    required = {name: parameter for name, parameter in one.parameters.items() if parameter.required}
    needed = {name: _fitting(parameter) for name, parameter in required.items() if f"{{{name}}}" not in one.path}
    rig.node().store["users"].setdefault("nobody@pve", {"enable": 1})
    rig.node().store["users"].setdefault("a@pve", {"enable": 1})
    with pytest.raises(ApiError) as caught:
        methods.invoke(rig.node(), Caller("nobody@pve"), one.verb, path_of(one), needed)
    assert caught.value.status == 403, (one.name, caught.value)


def _fitting(parameter: schema.Parameter) -> str:
    """Some value that the schema takes."""
    if parameter.choices:
        return parameter.choices[0]
    if parameter.kind != "string":
        return str(int(parameter.lowest or 1))
    known = {
        "pve-node": "pve1",
        "pve-vmid": "100",
        "pve-storage-id": "local",
        "pve-userid": "b@pve",
        "fingerprint": ":".join(["AB"] * 32),
        "network": "10.0.0.0/24",
        "ip": "10.0.0.1",
        "CIDR": "10.0.0.1/24",
    }
    if parameter.format:
        return known.get(parameter.format, "thing1")
    samples = (
        "/",
        "thing",
        "https://example.org/x",
        "scsi0",
        "8G",
        "user",
        "vm:100",
        "local:vztmpl/x",
        "1",
        "10.0.0.1",
    )
    return next(one for one in samples if not parameter.pattern or re.fullmatch(parameter.pattern, one))


def test_an_unknown_path_is_not_implemented(rig: Rig) -> None:
    with pytest.raises(ApiError, match="Method 'GET /nothing' not implemented") as caught:
        methods.invoke(rig.node(), AS_ROOT, "GET", "/nothing")
    assert caught.value.status == 501


def test_pvesh_and_the_table_agree(tmp_path: Path) -> None:
    rig = Rig.of(tmp_path, 1)
    assert "No 'get' handler defined" in rig.run("pve1", "pvesh get /nothing").err
    assert "400 Parameter verification failed." in rig.run("pve1", "pvesh create /cluster/config").err
    assert "clustername: property is missing" in rig.run("pve1", "pvesh create /cluster/config").err


# against the real API ------------------------------------------------------------------------------------------------

NEWER = {("PUT", "/access/users/{}/token/{}"): {"regenerate"}}
"""What 9.2 has and the list of names, which is of 9.1, has not."""


def real_names() -> dict[tuple[str, str], list[str]]:
    lines = (Path(__file__).parent / "api_names.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {(verb, path): names for verb, path, *names in rows}


def test_every_method_exists_with_these_parameters_in_the_real_api() -> None:
    """Our own calls go through this table, which refuses what is not in it; so this is about them too."""
    real = real_names()
    for one in METHODS:
        key = one.verb, re.sub(r"\{\w+\}", "{}", one.path)
        inside = set(re.findall(r"\{(\w+)\}", one.path))
        played = set(one.parameters) - inside
        assert played <= {name.rstrip("!") for name in real[key]} | NEWER.get(key, set()), one.name
        required = {name for name in played if one.parameters[name].required}
        assert required == {name.rstrip("!") for name in real[key] if name.endswith("!")}, one.name
    assert len(real) == len(METHODS)
