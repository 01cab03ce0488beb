"""platform/sops_age and platform/flux: the key that opens a repository's secrets, and what follows the repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.errors import Conflict, NotVerified, PreconditionMissing, Refused
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.platform import FluxFacts, SopsAgeFacts, cluster_api, deliver, patience

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ocifree_pipeline.systems.kube.api import Api
    from ocifree_pipeline.systems.kube.objects import Object

NAMESPACE = "flux-system"
AGE_SECRET, AGE_ENTRY = "sops-age", "age.agekey"
CONTROLLERS = ("source-controller", "helm-controller", "kustomize-controller", "notification-controller")
VERSION_LABEL = "app.kubernetes.io/version"
_KEY_END = "PRIVATE KEY-----"


# platform/sops_age ----------------------------------------------------------------------------------------------------


def sops_age(step: Step) -> Outcome:
    """Made once. What a repository holds is encrypted for it, so a second key would open nothing."""
    from ocifree_pipeline.systems.kube.secrets import secret

    plan, key = _age_key(step)
    recipient = _recipient(key)
    with cluster_api(step) as api:
        _require_same_key(api, recipient)
        done = deliver(step, api, "sops_age", secrets=[secret(NAMESPACE, AGE_SECRET, {AGE_ENTRY: key})])
        _read_back(api, recipient)
    return Outcome(
        summary=f"Flux opens what is encrypted for {recipient}",
        facts=SopsAgeFacts(recipient=recipient, vault=step.key),
        plan=(*plan, *done.plan),
        evidence=[{"what": "recipient for .sops.yaml", "found": recipient}],
        look_inside=f"kubectl --namespace {NAMESPACE} get secret {AGE_SECRET}",
    )


def _age_key(step: Step) -> tuple[tuple[str, ...], SecretStr]:
    import pyrage
    from pydantic import SecretStr

    from ocifree_pipeline.systems.secrets.vault import vault_of

    vault = vault_of(step.blueprint.declaration.name)
    is_there = step.key in vault.names()
    recorded = find_facts(step.instance, step.key, SopsAgeFacts)
    if recorded is not None and not is_there:
        raise PreconditionMissing(
            "the age key of the repository is lost",
            why=f"it was made and recorded, and {vault.file} does not hold it; a new one would open nothing that is "
            "encrypted for it",
            fix="put your backup of the vault and its key back; if nothing is encrypted yet, forget the record: "
            """`dagster asset wipe '["platform", "sops_age"]'`""",
        )
    key = vault.get_or_make(step.key, lambda: SecretStr(str(pyrage.x25519.Identity.generate())))
    if recorded is not None and recorded.recipient != _recipient(key):
        raise NotVerified(
            "the vault holds another age key than the one that was recorded",
            why=f"{recorded.recipient} was recorded",
            fix="put the vault of this deployment back; was another one copied over it?",
        )
    return (() if is_there else ("make the age key",)), key


def _recipient(key: SecretStr) -> str:
    from ocifree_pipeline.systems.secrets.age import key_in

    return str(key_in(key.get_secret_value(), AGE_SECRET).to_public())


def _require_same_key(api: Api, recipient: str) -> None:
    there = _key_in(api)
    if there is not None and _recipient(there) != recipient:
        raise Conflict(
            "the cluster holds another age key than the vault",
            why=f"it opens what is encrypted for {_recipient(there)}, and the vault's key is {recipient}",
            fix=f"put the right vault back, or if nothing is encrypted for that key: "
            f"kubectl --namespace {NAMESPACE} delete secret {AGE_SECRET}",
        )


def _read_back(api: Api, recipient: str) -> None:
    there = _key_in(api)
    if there is None or _recipient(there) != recipient:
        raise NotVerified(
            f"the secret {AGE_SECRET} is not as it was applied",
            why="the cluster took it, and reading it back shows another or none",
            fix="materialize this asset again",
        )


def _key_in(api: Api) -> SecretStr | None:
    from ocifree_pipeline.systems.kube.objects import CORE, Ref
    from ocifree_pipeline.systems.kube.secrets import entry_of

    found = api.get(api.require("v1", "Secret"), Ref(CORE, "Secret", NAMESPACE, AGE_SECRET))
    return entry_of(found, AGE_ENTRY)


# platform/flux --------------------------------------------------------------------------------------------------------


def flux(step: Step) -> Outcome:
    declared = step.blueprint.declaration.kubernetes.flux
    with cluster_api(step) as api:
        version = _controllers_run(step, api)
        done = deliver(step, api, "flux", secrets=_git_credentials(step))
    follows = f"{declared.repository} ({declared.branch}, {declared.path})" if declared.enabled else "no repository"
    return Outcome(
        summary=f"Flux {version} installs charts and follows {follows}",
        facts=FluxFacts(
            release=version,
            repository=declared.repository if declared.enabled else None,
            branch=declared.branch if declared.enabled else None,
            path=declared.path if declared.enabled else None,
            manifests=done.digest,
        ),
        plan=done.plan,
        numbers={"controllers": len(CONTROLLERS)},
        look_inside="kubectl get gitrepositories,kustomizations,helmreleases --all-namespaces",
    )


def _controllers_run(step: Step, api: Api) -> str:
    """Talos applied them at bootstrap. The version is read from what runs, not from what was pinned then."""
    from ocifree_pipeline.systems.kube.delivery import wait_until_ready
    from ocifree_pipeline.systems.kube.objects import CORE, Ref, at

    space = api.get(api.require("v1", "Namespace"), Ref(CORE, "Namespace", "", NAMESPACE))
    resource = api.require("apps/v1", "Deployment")
    missing = [name for name in CONTROLLERS if api.get(resource, Ref("apps", "Deployment", NAMESPACE, name)) is None]
    if space is None or missing:
        raise NotVerified(
            f"Flux is not on this cluster: {', '.join(missing)} missing",
            why="Talos fetches it at bootstrap from the address in its machine configuration; without a way to the "
            "internet it tries again and again",
            fix="talosctl get manifests; talosctl logs controller-runtime",
        )
    wait_until_ready(api, [_deployment(name) for name in CONTROLLERS], step.say, timeout=patience(step))
    found = api.get(resource, Ref("apps", "Deployment", NAMESPACE, CONTROLLERS[0]))
    labels = at(found, "metadata.labels", {}) if found else {}
    return str(labels.get(VERSION_LABEL, "of unknown version")).removeprefix("v")


def _deployment(name: str) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE}}


def _git_credentials(step: Step) -> list[Object]:
    from ocifree_pipeline.systems.kube.secrets import secret
    from ocifree_pipeline.systems.secrets.source import resolve
    from ocifree_pipeline.systems.secrets.vault import vault_of

    declared = step.blueprint.declaration.kubernetes.flux
    if not declared.enabled or declared.credentials is None or declared.repository is None:
        return []
    value = resolve(declared.credentials, vault_of(step.blueprint.declaration.name))
    over_ssh = declared.repository.startswith("ssh://")
    entries = _deploy_key(value) if over_ssh else _token(value)
    return [secret(NAMESPACE, "git-credentials", entries)]


def _token(value: SecretStr) -> Mapping[str, SecretStr]:
    from pydantic import SecretStr

    return {"username": SecretStr("git"), "password": value}


def _deploy_key(value: SecretStr) -> Mapping[str, SecretStr]:
    """A private key, and behind it the lines of known_hosts that say whom to believe."""
    from pydantic import SecretStr

    before, end, hosts = value.get_secret_value().rpartition(_KEY_END)
    if not end or not hosts.strip():
        raise Refused(
            "the deploy key comes without known_hosts",
            why="Flux believes no server whose host key it has not been given",
            fix="append the line of the server to the secret, below the private key: ssh-keyscan HOST prints it; "
            "compare it with what the server's owner publishes",
        )
    return {"identity": SecretStr(before + end + "\n"), "known_hosts": SecretStr(hosts.strip() + "\n")}
