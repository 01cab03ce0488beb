"""The module tofu/oci against the program: the same variables, types and kinds; all of it described and formatted."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2
import pytest

from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.convergence import Ref
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import (
    PARTS,
    DnsRecord,
    DnsZone,
    FoundationSpec,
    SecurityGroup,
    foundation_of,
)
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.port_rules import SecurityRule
from ocifree_pipeline.deployment.pricing import RULES, TOFU_TYPES
from ocifree_pipeline.systems.oci.foundation.desired import wanted_of
from ocifree_pipeline.systems.oci.foundation.engine import KINDS
from ocifree_pipeline.systems.opentofu.adoption import RULE
from ocifree_pipeline.systems.opentofu.variables import variables_of
from ocifree_pipeline.systems.opentofu.workspace import module_folder

MODULE = module_folder()
TENANCY = "ocid1.tenancy.oc1..example"
GUARDRAILS = {"quota", "budget", "alert_rule"}
"""They stand before either engine begins, and are always put up by the native one."""


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = hcl2.loads(path.read_text("utf-8"))
    return found


def blocks(kind: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every block of a kind in the module, with its labels."""
    for path in sorted(MODULE.glob("*.tf")):
        for block in load(path).get(kind, ()):
            labels: tuple[str, ...] = ()
            body = block
            while len(keys := [key for key in body if not key.startswith("__")]) == 1 and keys[0].startswith('"'):
                labels, body = (*labels, keys[0].strip('"')), body[keys[0]]
            yield labels, body


def whole_spec(topology: str = "proxmox-ceph") -> FoundationSpec:
    """A spec with everything that there can be."""
    blueprint = blueprint_of(parse(example(topology)))
    spec = foundation_of(blueprint.declaration, blueprint.plan.topology, ("ingress", "bastion"))
    subnets = tuple(
        dataclasses.replace(one, way_out="internet_gateway" if one.is_public else "nat_gateway") for one in spec.subnets
    )
    zone = DnsZone("example.org", (DnsRecord("lab.example.org", "ingress"), DnsRecord("b.example.org", "bastion")))
    return dataclasses.replace(spec, nat_gateway=True, subnets=subnets, dns_zone=zone)


def test_every_variable_and_output_says_what_it_is() -> None:
    variables, outputs = dict(blocks("variable")), dict(blocks("output"))
    assert variables
    assert outputs
    for labels, body in [*variables.items(), *outputs.items()]:
        assert len(str(body.get("description", ""))) > 20, labels
    for labels, body in variables.items():
        assert body.get("validation"), labels
        assert all(one["error_message"] for one in body["validation"])


def test_the_variables_are_what_the_program_writes() -> None:
    names = {labels[0] for labels, _ in blocks("variable")}
    assert names == {*variables_of(whole_spec(), TENANCY), "config_file_profile"}


def test_there_is_an_output_for_each_part_and_one_for_what_they_are_in() -> None:
    assert {labels[0] for labels, _ in blocks("output")} == {*PARTS, "compartment"}


def test_every_resource_has_a_price_and_is_one_that_the_native_engine_makes() -> None:
    types = {labels[0] for labels, _ in blocks("resource")}
    assert types <= set(TOFU_TYPES)
    kinds = {TOFU_TYPES[one] for one in types}
    assert kinds <= set(RULES)
    wanted = {one.kind for part in PARTS for one in wanted_of(whole_spec(), part)}
    assert kinds - {"security_rule"} == wanted == set(KINDS) - GUARDRAILS


def test_the_page_of_the_module_names_all_of_it() -> None:
    page = (MODULE / "README.md").read_text("utf-8")
    names = [labels[0] for kind in ("variable", "output") for labels, _ in blocks(kind)]
    for name in [*names, *(path.name for path in MODULE.glob("*.tf"))]:
        assert f"`{name}`" in page


def test_what_does_not_come_back_cannot_be_destroyed() -> None:
    kept = {
        labels[0]
        for labels, body in blocks("resource")
        if any(one.get("prevent_destroy") for one in body.get("lifecycle", ()))
    }
    assert kept == {
        "oci_identity_compartment",
        "oci_core_vcn",
        "oci_core_subnet",
        "oci_core_network_security_group",
        "oci_core_public_ip",
        "oci_objectstorage_bucket",
        "oci_dns_zone",
    }


def test_the_provider_is_pinned_and_neither_keys_nor_encryption_are_in_the_module() -> None:
    ((_, terraform),) = blocks("terraform")
    assert terraform["required_version"] == '">= 1.8.0"'
    (providers,) = terraform["required_providers"]
    assert providers["oci"] == {"source": '"oracle/oci"', "version": '"~> 8.0"'}
    assert not {"backend", "encryption"} & set(terraform)
    ((_, provider),) = blocks("provider")
    assert {key for key in provider if not key.startswith("__")} == {"region", "config_file_profile"}


def test_rules_have_keys_of_their_own_within_a_group() -> None:
    for topology in ("proxmox-ceph", "talos-native"):
        spec = whole_spec(topology)
        rendered = variables_of(spec, TENANCY)["spec"]["groups"]
        for group in spec.groups:
            assert len(rendered[group.name]["rules"]) == len(group.rules)


def test_names_and_tags_are_those_of_the_native_engine() -> None:
    spec = whole_spec()
    rendered = variables_of(spec, TENANCY)["spec"]
    named = {one["tags"]["ocifree-key"]: one["name"] for one in _tagged(rendered)}
    wanted = {one.role: one.name for part in PARTS for one in wanted_of(spec, part) if one.kind != "dns_record"}
    assert named == wanted
    assert {one["tags"]["ocifree-deployment"] for one in _tagged(rendered)} == {"lab"}


def _tagged(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, Mapping):
        if "tags" in value:
            yield dict(value)
        for inner in value.values():
            yield from _tagged(inner)


# with a program that knows HCL ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program() -> str:
    """tofu, or a terraform, which reads and formats the same language."""
    found = shutil.which(os.environ.get("TOFU", "tofu")) or shutil.which("terraform")
    if found is None:
        pytest.skip("neither tofu nor terraform is on the PATH")
    return found


def told(program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    return subprocess.run(
        [program, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.real("OpenTofu")
def test_the_module_is_formatted(program: str, tmp_path: Path) -> None:
    done = told(program, "fmt", "-check", "-recursive", "-diff", str(MODULE), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def variables(tmp_path: Path) -> Path:
    """The variables of the module, and the rules that it derives from them, without its provider."""
    shutil.copyfile(MODULE / "variables.tf", tmp_path / "variables.tf")
    rules = re.search(r"^locals \{.*?^\}", (MODULE / "groups.tf").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert rules
    output = '\noutput "seen" {\n  value = { spec = var.spec, rules = local.rules }\n}\n'
    (tmp_path / "rules.tf").write_text(rules[0] + output, "utf-8")
    return tmp_path


def seen(program: str, folder: Path, written: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    (folder / "spec.auto.tfvars.json").write_text(json.dumps(written), "utf-8")
    done = told(program, "plan", "-input=false", "-no-color", "-json", "-out=plan", folder=folder)
    if done.returncode != 0:
        return {}, done.stdout + done.stderr
    shown = told(program, "show", "-json", "plan", folder=folder)
    found: dict[str, Any] = json.loads(shown.stdout)["planned_values"]["outputs"]["seen"]["value"]
    return found, ""


@pytest.mark.real("OpenTofu")
@pytest.mark.parametrize("topology", ["proxmox-ceph", "talos-native"])
def test_what_the_program_writes_fits_the_types_of_the_variables(program: str, variables: Path, topology: str) -> None:
    """Nothing is lost on the way: an attribute that the type does not name would be dropped without a word."""
    written = variables_of(whole_spec(topology), TENANCY)
    found, said = seen(program, variables, written)
    assert not said
    assert _without_nothing(found["spec"]) == _without_nothing(written["spec"])
    rules = {f"{name}: {text}" for name, group in written["spec"]["groups"].items() for text in group["rules"]}
    assert set(found["rules"]) == rules


def _without_nothing(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nothing(inner) for key, inner in value.items() if inner is not None}
    return [_without_nothing(one) for one in value] if isinstance(value, list) else value


_OPEN = SecurityRule("tcp", "0.0.0.0/0", (8006, 8006), "the Proxmox console for everybody")
_ALL = SecurityRule("all", "0.0.0.0/0", None, "everything for everybody")
_FINE = SecurityRule("tcp", Ref("group/ssh"), (8006, 8006), "through the bastion")


def _with_rule(rule: SecurityRule) -> dict[str, Any]:
    spec = whole_spec()
    return variables_of(dataclasses.replace(spec, groups=(*spec.groups[:2], SecurityGroup("inside", (rule,)))), TENANCY)


def _with(path: str, value: Any) -> dict[str, Any]:
    written = variables_of(whole_spec(), TENANCY)
    *parents, last = path.split(".")
    inner = written
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return written


@pytest.mark.real("OpenTofu")
@pytest.mark.parametrize(
    ("written", "words"),
    [
        pytest.param(_with_rule(_OPEN), "22, 80 and 443 and nothing else", id="a port to the world"),
        pytest.param(_with_rule(_ALL), "22, 80 and 443 and nothing else", id="everything to the world"),
        pytest.param(_with("spec.bucket.versioning", "Enabled"), "anything else is billed", id="a bucket that costs"),
        pytest.param(_with("spec.bucket.public_access_type", "ObjectRead"), "or open", id="a bucket for all"),
        pytest.param(_with("spec.vcn.cidr_blocks", ["10.0.0.0"]), "CIDR notation", id="no range"),
        pytest.param(_with("spec.region", "London"), "uk-london-1", id="no region"),
        pytest.param(_with("spec.nat_gateway", None), "if there is one", id="a route to nowhere"),
        pytest.param(_with("spec.reserved_ips", {}), "reserved address of the same name", id="a record to nowhere"),
        pytest.param(_with("spec.deployment", "Lab"), "a letter first", id="a name that Oracle refuses"),
        pytest.param(_with("tenancy", "lab"), "ocid1.tenancy.", id="no tenancy"),
    ],
)
def test_the_module_refuses_what_the_program_would_never_write(
    program: str, variables: Path, written: dict[str, Any], words: str
) -> None:
    found, said = seen(program, variables, written)
    assert not found
    assert words in said


@pytest.mark.real("OpenTofu")
def test_what_the_refusals_stand_beside_is_accepted(program: str, variables: Path) -> None:
    assert seen(program, variables, _with_rule(_FINE))[1] == ""


def test_rules_are_made_by_the_type_that_is_imported() -> None:
    assert RULE in {labels[0] for labels, _ in blocks("resource")}
