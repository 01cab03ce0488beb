"""age and sops, unmodified: our vault opens for one, and what the other sealed is read."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.systems.secrets.source import resolve
from ocifree_pipeline.systems.secrets.vault import Vault
from ocifree_pipeline_tests.real.programs import program


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    kept = Vault(tmp_path / "vault.age", tmp_path / "identity.txt")
    kept.put({"lab/password": SecretStr("correct horse")})
    return kept


def said(*words: str) -> bytes:
    return subprocess.run(words, capture_output=True, timeout=60, check=True).stdout


@pytest.mark.real("age")
def test_age_opens_the_vault_and_the_vault_reads_what_age_sealed(vault: Vault) -> None:
    age, keygen = program("age"), program("age-keygen")
    opened = json.loads(said(age, "--decrypt", "--identity", str(vault.identity), str(vault.file)))
    assert "correct horse" in opened.values()
    recipient = said(keygen, "-y", str(vault.identity)).decode().strip()
    plain = vault.file.with_suffix(".json")
    plain.write_text(json.dumps({**opened, "more": "of the same"}))
    said(age, "--encrypt", "--recipient", recipient, "--output", str(vault.file), str(plain))
    assert vault.get("more").get_secret_value() == "of the same"


@pytest.mark.real("sops")
def test_what_sops_sealed_is_read_and_with_another_key_it_is_not(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sops, keygen = program("sops"), program("age-keygen")
    recipient = said(keygen, "-y", str(vault.identity)).decode().strip()
    file = tmp_path / "secrets.yaml"
    file.write_text("dns:\n  token: of-the-zone\n")
    said(sops, "encrypt", "--age", recipient, "--in-place", str(file))
    assert "of-the-zone" not in file.read_text()
    reference = SecretRef("sops", f"{file}#dns.token")
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(vault.identity))
    assert resolve(reference, vault).get_secret_value() == "of-the-zone"
    other = tmp_path / "other.txt"
    other.write_bytes(said(keygen))
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(other))
    with pytest.raises(Refused, match="sops could not read"):
        resolve(reference, vault)
