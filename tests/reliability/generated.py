"""Requests that schemathesis makes of /openapi.json, valid ones and others, put to a running service."""

from __future__ import annotations

from dataclasses import dataclass, field

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings


@dataclass
class Told:
    """How many were sent, and what was wrong with answers."""

    sent: int = 0
    by_status: dict[int, int] = field(default_factory=dict)
    wrong: list[tuple[str, int, str]] = field(default_factory=list)


def put(address: str, headers: dict[str, str], each: int) -> Told:
    """`each` requests to every route of the service at this address."""
    told = Told()
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=headers)
    for number, found in enumerate(schema.get_all_operations()):
        operation = found.ok()

        @seed(number)
        @settings(
            max_examples=each,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def one(case: schemathesis.Case) -> None:
            answer = case.call(base_url=address, headers=headers)
            status, size = answer.status_code, len(answer.content)
            told.sent += 1
            told.by_status[status] = told.by_status.get(status, 0) + 1
            expected = status == 503 and "retry-after" in answer.headers
            if (status >= 500 and not expected) or (status >= 400 and size > 4096):
                told.wrong.append(
                    (case.operation.label, status, answer.content[:200].decode("utf-8", "replace"))
                )

        one()
    return told
