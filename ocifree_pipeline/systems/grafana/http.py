"""One call to Grafana Cloud, with errors that tell a wrong token, a missing right, a limit and a fault apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    NotVerified,
    OcifreeError,
    Refused,
    Throttled,
    Transient,
)

CALL_SECONDS = 30

Kind = Literal["metrics", "logs", "traces", "grafana"]
_TOKEN: Mapping[Kind, str] = {
    "metrics": "monitoring.grafana_cloud.token",
    "logs": "monitoring.grafana_cloud.token",
    "traces": "monitoring.grafana_cloud.token",
    "grafana": "monitoring.grafana_cloud.service_account_token",
}


@dataclass(frozen=True, slots=True)
class Door:
    """A host of Grafana Cloud and what opens it. Without a user the secret is a bearer token."""

    kind: Kind
    url: str
    secret: SecretStr
    user: str = ""

    def call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        absent: bool = False,
    ) -> Any:
        """The JSON of the answer; None when it has none, or when `absent` allows a 404."""
        import requests

        secret = self.secret.get_secret_value()
        given = dict(headers or {}) | ({} if self.user else {"Authorization": f"Bearer {secret}"})
        try:
            answer = requests.request(
                method,
                self.url + path,
                params=query,
                json=body,
                data=content,
                headers=given,
                auth=(self.user, secret) if self.user else None,
                timeout=CALL_SECONDS,
            )
        except requests.RequestException as error:
            # The text of the error may repeat what was sent.
            raise Transient(
                f"{doing}: {self.url} does not answer",
                why=type(error).__name__,
                fix="`ocifree doctor` tests the connection",
            ) from None
        if answer.status_code == 404 and absent:
            return None
        if answer.ok:
            return _json(answer.text, doing) if answer.content else None
        raise self._refusal(answer.status_code, answer.text, doing)

    def _refusal(self, status: int, text: str, doing: str) -> OcifreeError:
        said = " ".join(text.split())[:300] or "it said nothing"
        what = f"{doing}: Grafana Cloud answered {status}"
        secret = _TOKEN[self.kind]
        match status:
            case 401:
                return AuthFailed(
                    what,
                    why=f"it does not know the token, or the token is not for this stack ({said})",
                    fix=f"look at {secret}, and at the user numbers of monitoring.grafana_cloud",
                )
            case 403:
                return Forbidden(what, why=f"the token may not do that ({said})", fix=self._rights(secret))
            case 409 | 412:
                return Conflict(what, why=said, fix="look at it in Grafana; `ocifree up` tries again")
            case 429:
                return Throttled(what, why=f"a limit of the free plan is reached ({said})", fix="wait some minutes")
            case _ if status >= 500:
                return Transient(what, why=said, fix="try again in a minute")
        return Refused(what, why=said, fix="this may be a fault of ocifree; please report it")

    def _rights(self, secret: str) -> str:
        if self.kind == "grafana":
            return f"give the service account of {secret} the role Editor"
        return f"give the access policy of {secret} the scopes {self.kind}:read and {self.kind}:write"


def _json(text: str, doing: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError as error:
        raise NotVerified(
            f"{doing}: the answer is no JSON", why=" ".join(text.split())[:200], fix="is the address the right one?"
        ) from error
