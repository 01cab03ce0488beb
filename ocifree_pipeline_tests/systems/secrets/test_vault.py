"""The vault keeps what it was given, privately, and says plainly what is wrong when it cannot."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import PreconditionMissing, Refused
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.systems.secrets.source import resolve
from ocifree_pipeline.systems.secrets.vault import Vault, vault_of


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault" / "lab.age", tmp_path / "vault" / "identity.txt")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secrets=st.dictionaries(st.text("abc/_", min_size=1, max_size=8), st.text(max_size=40), min_size=1, max_size=4))
def test_what_goes_in_comes_out(vault: Vault, secrets: dict[str, str]) -> None:
    vault.put({name: SecretStr(value) for name, value in secrets.items()})
    assert {name: vault.get(name).get_secret_value() for name in secrets} == secrets
    assert set(secrets) <= set(vault.names())


def test_two_that_make_the_same_secret_at_once_get_the_same(vault: Vault) -> None:
    together = threading.Barrier(4)
    made: list[str] = []
    got: list[str] = []

    def make(number: int) -> SecretStr:
        made.append(str(number))
        return SecretStr(str(number))

    def ask(number: int) -> None:
        together.wait(timeout=30)
        got.append(vault.get_or_make("talos/secrets", lambda: make(number)).get_secret_value())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert got == made * 4
    assert vault.get("talos/secrets").get_secret_value() == made[0]


def test_a_secret_that_could_not_be_made_leaves_the_vault_as_it_was(vault: Vault) -> None:
    def fail() -> SecretStr:
        raise Refused("no", why="no", fix="no")

    with pytest.raises(Refused):
        vault.get_or_make("one", fail)
    assert vault.names() == ()
    assert vault.get_or_make("one", lambda: SecretStr("1")).get_secret_value() == "1"


def test_nothing_is_readable_by_others_or_in_clear(vault: Vault) -> None:
    vault.put({"talos/secrets": SecretStr("do-not-tell-4711")})
    for path in (vault.file, vault.identity):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(vault.file.parent.stat().st_mode) == 0o700
    assert b"do-not-tell" not in vault.file.read_bytes()
    assert "do-not-tell" not in repr(vault.get("talos/secrets"))


def test_writers_at_once_lose_nothing(vault: Vault) -> None:
    threads = [threading.Thread(target=vault.put, args=({f"n{n}": SecretStr(str(n))},)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vault.names() == tuple(f"n{n}" for n in range(8))


def test_removing_leaves_the_rest(vault: Vault) -> None:
    vault.put({"a": SecretStr("1"), "b": SecretStr("2")})
    vault.remove(frozenset({"a"}))
    assert vault.names() == ("b",)
    with pytest.raises(PreconditionMissing, match="the vault has no a"):
        vault.get("a")


def test_a_lost_or_wrong_identity_is_told_apart_from_an_empty_vault(vault: Vault) -> None:
    assert vault.names() == ()
    vault.put({"a": SecretStr("1")})
    kept = vault.identity.read_text()
    vault.identity.unlink()
    with pytest.raises(PreconditionMissing, match="is missing"):
        vault.get("a")
    other = Vault(vault.file.with_name("other.age"), vault.identity)
    other.put({"x": SecretStr("y")})
    with pytest.raises(Refused, match="does not open"):
        vault.get("a")
    vault.identity.write_text(kept)
    assert vault.get("a").get_secret_value() == "1"


def test_an_identity_that_age_keygen_wrote_is_taken(vault: Vault) -> None:
    """It writes two lines of comment above the key."""
    made = str(pyrage.x25519.Identity.generate())
    vault.identity.parent.mkdir()
    vault.identity.write_text(f"# created: 2026-11-20T12:00:00Z\n# public key: age1somebody\n{made}\n")
    vault.put({"a": SecretStr("1")})
    assert vault.get("a").get_secret_value() == "1"
    assert pyrage.decrypt(vault.file.read_bytes(), [pyrage.x25519.Identity.from_str(made)])


def test_an_identity_that_is_none_or_has_no_place_is_told(vault: Vault, tmp_path: Path) -> None:
    vault.identity.parent.mkdir()
    vault.identity.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(Refused, match="holds no age key"):
        vault.put({"a": SecretStr("1")})
    with pytest.raises(PreconditionMissing, match="unplugged is not there"):
        Vault(vault.file, tmp_path / "unplugged" / "key.txt").put({"a": SecretStr("1")})


def test_the_place_follows_the_environment(tmp_path: Path) -> None:
    found = vault_of("lab", {"DAGSTER_HOME": str(tmp_path), "OCIFREE_AGE_IDENTITY": "/elsewhere/key.txt"})
    assert found == Vault(tmp_path / "vault" / "lab.age", Path("/elsewhere/key.txt"))


def ref(text: str) -> SecretRef:
    found = SecretRef.parse(text)
    assert found is not None
    return found


def test_references_resolve_where_they_point(vault: Vault) -> None:
    vault.put({"grafana": SecretStr("from the vault")})
    assert resolve(ref("vault:grafana"), vault, {}).get_secret_value() == "from the vault"
    assert resolve(ref("env:TOKEN"), vault, {"TOKEN": "from outside"}).get_secret_value() == "from outside"
    with pytest.raises(PreconditionMissing, match="the environment has no TOKEN"):
        resolve(ref("env:TOKEN"), vault, {"TOKEN": ""})


SOPS = """#!/bin/sh
case "$*" in
  *'["good"]["deep"]'*) echo s3cret ;;
  *) echo "component ['bad'] not found" >&2; exit 1 ;;
esac
"""


def test_sops_is_asked_for_one_key(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, file = tmp_path / "sops", tmp_path / "secrets.yaml"
    program.write_text(SOPS)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(PreconditionMissing, match="does not exist"):
        resolve(ref(f"sops:{file}#good.deep"), vault)
    file.touch()
    assert resolve(ref(f"sops:{file}#good.deep"), vault).get_secret_value() == "s3cret"
    with pytest.raises(Refused, match="could not read") as refused:
        resolve(ref(f"sops:{file}#bad"), vault)
    assert "not found" in refused.value.why
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PreconditionMissing, match="sops is not installed"):
        resolve(ref(f"sops:{file}#good.deep"), vault)
