"""Quota policy, budget and alert rule: they live in the root compartment and in the home region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocifree_pipeline.deployment.convergence import Found, InOrder
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.kinds import GONE, Plain, Scope
from ocifree_pipeline.systems.oci.session import every, reading


class _Quotas(Plain):
    def found(self, scope: Scope, thing: Any) -> Found:
        # A list shows quotas without their statements. Those of others are read only when they stand in the way.
        statements: tuple[str, ...] = ()
        if scope.is_ours(thing):
            whole = thing if hasattr(thing, "statements") else self._whole(scope, thing.id)
            statements = tuple(whole.statements or ())
        values = {"statements": InOrder(statements), "description": thing.description}
        return Found(
            thing.id,
            thing.name,
            scope.is_ours(thing),
            thing.lifecycle_state,
            values,
            tags=dict(thing.freeform_tags or {}),
        )

    def statements_of_others(self, scope: Scope) -> dict[str, tuple[str, ...]]:
        """Every quota policy that is not ours, by its name."""
        return {
            found.name: tuple(self._whole(scope, found.id).statements or ())
            for found in self.list(scope)
            if not found.is_ours
        }

    def to_sdk(self, values: Mapping[str, Any]) -> dict[str, Any]:
        fields = dict(values)
        if "statements" in fields:
            fields["statements"] = list(fields["statements"].lines)
        return fields

    def _whole(self, scope: Scope, ocid: str) -> Any:
        with told(f"read the quota policy {ocid}"):
            return self._client(scope).get_quota(ocid, retry_strategy=reading()).data


class _Budgets(Plain):
    def list_arguments(self, place: str) -> dict[str, Any]:
        return {"compartment_id": place, "target_type": "ALL"}

    def values_of(self, scope: Scope, thing: Any) -> dict[str, Any]:
        return {**super().values_of(scope, thing), "targets": tuple(thing.targets or ())}

    def to_sdk(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**values, "targets": list(values["targets"])} if "targets" in values else dict(values)


class _AlertRules(Plain):
    """Rules live inside a budget, so their OCID here is `budget/rule`."""

    def list(self, scope: Scope) -> Iterator[Found]:
        client = self._client(scope)
        for budget in BUDGET.list(scope):
            if not budget.is_ours:
                continue
            with told(f"list the alert rules of {budget.name}"):
                rules = every(client.list_alert_rules, budget.id)
            yield from (self.found(scope, rule) for rule in rules if rule.lifecycle_state not in GONE)

    def read(self, scope: Scope, found_id: str) -> Found | None:
        return next((found for found in self.list(scope) if found.id == found_id), None)

    def found(self, scope: Scope, thing: Any) -> Found:
        return Found(
            f"{thing.budget_id}/{thing.id}",
            thing.display_name,
            scope.is_ours(thing),
            thing.lifecycle_state,
            {
                "budget_id": thing.budget_id,
                "type": thing.type,
                "threshold": thing.threshold,
                "threshold_type": thing.threshold_type,
                "recipients": thing.recipients,
                "message": thing.message,
            },
            {"rule": thing.id},
            dict(thing.freeform_tags or {}),
        )

    def create(self, scope: Scope, name: str, values: Mapping[str, Any], tags: Mapping[str, str], token: str) -> str:
        fields = {key: value for key, value in values.items() if key != "budget_id"}
        details = self.sdk_model(
            "CreateAlertRuleDetails", {**fields, "display_name": name, "freeform_tags": dict(tags)}
        )
        with told(f"make the alert rule {name}"):
            made = self._client(scope).create_alert_rule(values["budget_id"], details, opc_retry_token=token).data
        return f"{made.budget_id}/{made.id}"

    def update(self, scope: Scope, found: Found, changes: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        fields = {"display_name" if key == "name" else key: value for key, value in changes.items()}
        # Oracle wants type and threshold type together with whatever changes.
        whole = {key: value for key, value in found.values.items() if key != "budget_id"} | fields
        details = self.sdk_model("UpdateAlertRuleDetails", {**whole, "freeform_tags": dict(tags)})
        with told(f"change the alert rule {found.name}"):
            self._client(scope).update_alert_rule(found.values["budget_id"], found.attributes["rule"], details)

    def delete(self, scope: Scope, found: Found) -> None:
        with told(f"delete the alert rule {found.name}"):
            self._client(scope).delete_alert_rule(found.values["budget_id"], found.attributes["rule"])


QUOTA = _Quotas("quota", "limits.QuotasClient", "quota", "quotas", "Quota", in_root=True, name_field="name")
BUDGET = _Budgets(
    "budget",
    "budget.BudgetClient",
    "budget",
    "budgets",
    "Budget",
    readable=("amount", "reset_period", "target_type", "description"),
    in_root=True,
)
ALERT_RULE = _AlertRules("alert_rule", "budget.BudgetClient", "alert_rule", "alert_rules", "AlertRule")
