"""`budget`: who hears of the first cent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.sections.section import (
    Checked,
    Email,
    Section,
    Several,
    at_least_one,
    between,
    whole,
    without_repeats,
)


def _cents(value: float) -> Objection | None:
    if round(value, 2) == value:
        return None
    return Objection("Oracle takes at most two decimals here", f"write {max(0.01, round(value, 2)):.2f}")


class Budget(Section):
    """Oracle looks at it once a day, so it is the last guard and not the first."""

    alert_emails: Annotated[
        Several[Email],
        at_least_one("nobody would hear of a charge", "write at least one address"),
        without_repeats(),
    ] = Field(description="Who gets Oracle's e-mail when anything was charged.", examples=[["you@example.org"]])
    amount: Annotated[
        int,
        whole("Oracle takes whole budgets only; the first cent is what threshold is for"),
        between(1, None, "Oracle takes no budget below 1"),
    ] = Field(1, description="The monthly budget in whole units of your account's currency.")
    threshold: Annotated[
        float, between(0.01, None, "one cent is the smallest charge there is"), Checked(_cents, {})
    ] = Field(0.01, description="The spend at which the alert is sent, in the same currency.")

    @model_validator(mode="after")
    def _alert_comes_before_the_end(self) -> Budget:
        if self.threshold > self.amount:
            raise refuse(
                Objection(
                    f"more than the budget itself ({self.amount})",
                    f"write {self.amount} or less; 0.01 tells of the first cent",
                    at=("threshold",),
                    involves=(("amount",),),
                )
            )
        return self
