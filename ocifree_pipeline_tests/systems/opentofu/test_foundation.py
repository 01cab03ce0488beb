"""The engine with a program that plays tofu: what is run, what is refused, and what a dead run leaves behind."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from typing import Any

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.convergence import CannotChange, Found, resolve
from ocifree_pipeline.deployment.errors import (
    LimitReached,
    NotVerified,
    OcifreeError,
    PreconditionMissing,
    Refused,
    Transient,
)
from ocifree_pipeline.deployment.foundation import PARTS
from ocifree_pipeline.deployment.sections.foundation import State
from ocifree_pipeline.systems.oci.foundation.desired import wanted_of
from ocifree_pipeline.systems.opentofu.adoption import Standing
from ocifree_pipeline.systems.opentofu.workspace import PASSPHRASE
from ocifree_pipeline_tests.systems.opentofu.conftest import CREDENTIALS, Bench

VCN = "oci_core_vcn.this"


def given_passphrase(env: dict[str, str]) -> str:
    """As it is written, after a look at the rest: state and plan sealed by the one method, and nothing else taken."""
    import hcl2

    read = hcl2.loads(env["TF_ENCRYPTION"])
    for one in ("state", "plan"):
        (target,) = read[one]
        assert (target["method"], target["enforced"]) == ("${method.aes_gcm.ocifree}", True)
    (method,), (provider,) = read["method"], read["key_provider"]
    assert method['"aes_gcm"']['"ocifree"']["keys"] == "${key_provider.pbkdf2.ocifree}"
    written: str = provider['"pbkdf2"']['"ocifree"']["passphrase"]
    return written[1:-1]


def everything(bench: Bench) -> Any:
    engine = bench.engine()
    return engine.apply(engine.plan("network"))


def test_the_first_part_makes_all_and_the_others_find_nothing_to_do(bench: Bench) -> None:
    engine = bench.engine()
    plan = engine.plan("network")
    assert "create vcn lab-vcn" in plan.lines
    assert "create security rule inside: tcp 22 from group/ssh" in plan.lines
    assert "create bucket lab-images" in plan.lines
    made = engine.apply(plan)
    assert set(made) == {one.role for part in PARTS for one in wanted_of(bench.spec, part)}
    assert made["vcn"].tags == {"ocifree-deployment": "lab", "ocifree-key": "vcn"}
    assert made["reserved_ip/ingress"].attribute("address") == "203.0.113.7"
    assert bench.commands() == ["init", "plan", "show", "plan", "show", "apply", "plan", "show"]
    assert "make oci_core_vcn.this: still at it after 10 s" in bench.said

    for part in PARTS:
        before = len(bench.commands())
        later = bench.engine()
        again = later.plan(part)
        assert (again.lines, again.is_noop, again.surplus) == ((), True, ())
        assert later.apply(again) == made
        assert bench.commands()[before:] == ["init", "plan", "show"]


def test_pricing_sees_the_whole_module_whatever_the_part(bench: Bench) -> None:
    engine = bench.engine()
    engine.plan("network")
    items = engine.items("image_bucket")
    assert bench.commands() == ["init", "plan", "show"]
    kinds = {item.kind for item in items}
    assert {"vcn", "subnet", "security_rule", "reserved_ip", "bucket"} <= kinds
    assert len(items) == len({(item.kind, item.name) for item in items})


def test_no_secret_is_in_an_argument_a_file_or_a_line(bench: Bench) -> None:
    bench.environ |= {"TF_LOG": "TRACE", "TF_VAR_spec": "{}", "TF_CLI_ARGS_plan": "-destroy", "KEPT": "yes"}
    everything(bench)
    (passphrase,) = (secret.get_secret_value() for secret in bench.secrets().values())
    for note in bench.notes():
        assert passphrase not in json.dumps(note["argv"])
        env = note["env"]
        assert given_passphrase(env) == passphrase
        assert not {"TF_LOG", "TF_VAR_spec", "TF_CLI_ARGS_plan"} & set(env)
        assert (env["KEPT"], env["OCI_USER_OCID"], env["OCI_AUTH"]) == ("yes", CREDENTIALS["user"], "ApiKey")
        assert env["OCI_PRIVATE_KEY_PATH"] == os.path.expanduser("~/key.pem")  # noqa: PTH111
    folder = bench.workspace.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(folder.glob("*.plan"))
    for path in folder.iterdir():
        text = path.read_text("utf-8")
        assert passphrase not in text
        assert CREDENTIALS["pass_phrase"] not in text
    assert passphrase not in "".join(bench.said) + repr(bench.tofu())


def test_a_program_that_shows_its_passphrase_is_not_quoted(bench: Bench) -> None:
    bench.play(fault={"at": "init", "kind": "words", "stderr": "Error: in {TF_ENCRYPTION} there is something"})
    with pytest.raises(Refused) as caught:
        bench.engine().plan("network")
    assert bench.vault.get(PASSPHRASE).get_secret_value() not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_change_behind_our_back_is_named_and_repaired_in_place(bench: Bench) -> None:
    everything(bench)
    bench.change_cloud(VCN, display_name="renamed")
    engine = bench.engine()
    plan = engine.plan("network")
    assert plan.lines == ("change vcn lab-vcn: display_name: renamed -> lab-vcn",)
    engine.apply(plan)
    assert bench.cloud()[VCN]["values"]["display_name"] == "lab-vcn"


def test_what_would_be_lost_is_refused_by_name_and_nothing_is_applied(bench: Bench) -> None:
    everything(bench)
    bench.spec = dataclasses.replace(bench.spec, reserved_ips=())
    with pytest.raises(CannotChange, match=r"oci_core_public_ip.reserved\[\"ingress\"\]"):
        bench.engine().plan("reserved_ips")
    assert bench.commands().count("apply") == 1


def test_a_closed_port_is_not_a_loss(bench: Bench) -> None:
    everything(bench)
    groups = tuple(dataclasses.replace(one, rules=one.rules[1:]) for one in bench.spec.groups)
    bench.spec = dataclasses.replace(bench.spec, groups=groups)
    assert "delete security rule ssh: tcp 22 from 0.0.0.0/0" in bench.engine().plan("network").lines


@pytest.mark.parametrize("after", [1, 2, 14, 20])
def test_a_run_that_died_is_resumed_and_what_it_made_is_taken_over(bench: Bench, after: int) -> None:
    bench.play(fault={"at": "apply", "kind": "die", "after": after})
    engine = bench.engine()
    plan = engine.plan("network")
    with pytest.raises(OcifreeError):
        engine.apply(plan)
    cloud = bench.cloud()
    assert len(cloud) == after

    bench.play()
    bench.standing = _standing(bench)
    resumed = bench.engine()
    plan = resumed.plan("network")
    orphan = list(cloud)[-1]
    assert sum(line.startswith("take over") for line in plan.lines) == (0 if "default_security_list" in orphan else 1)
    made = resumed.apply(plan)
    assert {address: bench.cloud()[address]["id"] for address in cloud} == {a: t["id"] for a, t in cloud.items()}
    assert not (bench.workspace.folder / "imports.tf.json").exists()
    assert bench.engine().plan("network").is_noop
    assert made["vcn"].id == bench.cloud()[VCN]["id"]


def test_a_lost_state_is_made_again_from_what_stands(bench: Bench) -> None:
    everything(bench)
    before = {address: thing["id"] for address, thing in bench.cloud().items()}
    bench.workspace.state_file.unlink()
    bench.standing = _standing(bench)
    engine = bench.engine()
    plan = engine.plan("network")
    assert {line.partition(" ")[0] for line in plan.lines} == {"take", "create"}
    assert [line for line in plan.lines if line.startswith("create")] == ["create security list lab-every-machine"]
    assert "take over bucket lab-images" in plan.lines
    engine.apply(plan)
    assert {address: thing["id"] for address, thing in bench.cloud().items()} == before


@pytest.mark.parametrize(
    ("summary", "kind"),
    [
        ("400-LimitExceeded, the limit vcn-count was exceeded", LimitReached),
        ("Error acquiring the state lock", Refused),
        ("Instance cannot be destroyed", CannotChange),
    ],
)
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_diagnostic_becomes_the_error_of_its_kind(
    bench: Bench, command: str, summary: str, kind: type[OcifreeError]
) -> None:
    bench.play(fault={"at": command, "kind": "diagnostic", "diagnostics": [{"summary": summary, "detail": ""}]})
    engine = bench.engine()
    with pytest.raises(kind) as caught:
        engine.apply(engine.plan("network"))
    assert summary.rpartition(", ")[2] in caught.value.what
    assert caught.value.what.startswith(f"{command} the module")


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"at": "show", "kind": "words", "stdout": "{half", "code": 0}, Refused, "did not answer in JSON"),
        ({"at": "show", "kind": "words", "stdout": '{"format_version": "2.0"}', "code": 0}, Refused, "cannot be read"),
        ({"at": "plan", "kind": "words", "stdout": "panic: no", "stderr": "goroutine 1"}, Refused, "panic: no"),
        ({"at": "plan", "kind": "die"}, Refused, "without a word"),
        (
            {"at": "init", "kind": "words", "stderr": "│ Error: Failed to query available provider packages"},
            PreconditionMissing,
            "TF_CLI_CONFIG_FILE",
        ),
        (
            {"at": "init", "kind": "words", "stderr": "dial tcp 127.0.0.1:1: connect: connection refused"},
            Transient,
            "the connection failed",
        ),
    ],
)
def test_a_program_that_misbehaves_is_a_told_error(
    bench: Bench, fault: dict[str, Any], kind: type[OcifreeError], words: str
) -> None:
    bench.play(fault=fault)
    with pytest.raises(kind) as caught:
        bench.engine().plan("network")
    assert words in str(caught.value)
    assert not list(bench.workspace.folder.glob("*.plan"))


def test_a_program_that_hangs_is_ended_and_frees_the_workspace(bench: Bench) -> None:
    bench.play(fault={"at": "apply", "kind": "hang"})
    engine = bench.engine(quiet_seconds=1)
    plan = engine.plan("network")
    with pytest.raises(Transient, match="said nothing"):
        engine.apply(plan)
    bench.play()
    everything(bench)
    assert bench.engine().plan("network").is_noop


def test_only_what_was_shown_is_applied(bench: Bench) -> None:
    everything(bench)
    bench.change_cloud(VCN, display_name="renamed")
    engine = bench.engine()
    plan = engine.plan("network")
    bench.change_cloud("oci_core_internet_gateway.this", display_name="renamed too")
    with pytest.raises(Transient, match="renamed too"):
        engine.apply(plan)
    assert bench.commands().count("apply") == 1


def test_an_apply_that_changes_nothing_is_not_believed(bench: Bench) -> None:
    engine = bench.engine()
    plan = engine.plan("network")
    bench.play(fault={"at": "apply", "kind": "words", "code": 0})
    with pytest.raises(NotVerified, match="second plan still differs"):
        engine.apply(plan)


def test_a_state_without_its_passphrase_stops_before_anything_is_run(bench: Bench) -> None:
    everything(bench)
    bench.vault.remove(frozenset({PASSPHRASE}))
    calls = len(bench.calls())
    with pytest.raises(PreconditionMissing, match=PASSPHRASE):
        bench.engine()
    assert len(bench.calls()) == calls


def test_state_in_a_store_is_described_without_its_keys(bench: Bench) -> None:
    bench.environ |= {"STATE_ID": "the-id-of-the-key", "STATE_KEY": "the-key-of-the-store"}
    store = {
        "endpoint": "https://ns.compat.objectstorage.uk-london-1.oraclecloud.com",
        "bucket": "lab-state",
        "region": "uk-london-1",
        "access_key": "env:STATE_ID",
        "secret_key": "env:STATE_KEY",
    }
    bench.state = State.model_validate({"backend": "s3", "s3": store})
    everything(bench)
    written = json.loads((bench.workspace.folder / "backend.tf.json").read_text("utf-8"))
    backend = written["terraform"]["backend"]["s3"]
    assert backend["skip_s3_checksum"]
    assert backend["use_lockfile"]
    assert backend["key"] == "ocifree/lab.tfstate"
    assert "the-key-of-the-store" not in json.dumps(written)
    assert {one["env"]["AWS_SECRET_ACCESS_KEY"] for one in bench.notes()} == {"the-key-of-the-store"}


def test_a_declared_passphrase_is_used_and_a_short_one_refused(bench: Bench) -> None:
    bench.environ |= {"PASS": '${not} an %{expression} "at" \\all\n'}
    bench.state = State.model_validate({"backend": "local", "passphrase": "env:PASS"})
    everything(bench)
    assert given_passphrase(bench.notes()[0]["env"]) == r"$${not} an %%{expression} \"at\" \\all\U0000000a"
    assert bench.vault.names() == ()
    bench.environ["PASS"] = "short"
    with pytest.raises(PreconditionMissing, match="shorter than 16"):
        bench.engine()


def test_the_passphrase_is_made_once(bench: Bench) -> None:
    bench.engine()
    first = bench.secrets()
    bench.engine()
    assert bench.secrets() == first == {PASSPHRASE: SecretStr(first[PASSPHRASE].get_secret_value())}


def _standing(bench: Bench) -> Standing:
    """What an observer sees of the cloud that the program plays."""
    cloud = bench.cloud()
    found, ids = {}, {}
    for address, thing in cloud.items():
        tags = thing["values"].get("freeform_tags")
        if tags and thing["type"] != "oci_core_default_security_list":
            attributes = {"namespace": "ns"} if thing["type"] == "oci_objectstorage_bucket" else {}
            found[tags["ocifree-key"]] = Found(
                thing["id"], thing["values"]["display_name"], True, attributes=attributes, tags=tags
            )
        elif thing["index"]:
            ids[thing["index"]] = (address, thing["id"])

    def rules_of(group: str) -> dict[str, Any]:
        (name,) = (role.partition("/")[2] for role, one in found.items() if one.id == group)
        rules = next(one.rules for one in bench.spec.groups if one.name == name)
        standing = {str(rule): resolve(rule, found) for rule in rules}
        return {ids[f"{name}: {text}"][1]: rule for text, rule in standing.items() if f"{name}: {text}" in ids}

    return Standing(found, rules_of)
