"""Routes about the shop's rules: kept, looked at, and tried out before they hold."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.answer import rehearsal, rules
from intently.serving.http.body import from_body, from_query
from intently.serving.http.openapi import takes_body, takes_query
from intently.serving.rules.rule import Rule
from intently.serving.service import Service, reply
from intently.serving.shapes import rules as s
from intently.serving.state.engine import Engine

BODIES: Final[tuple[type[BaseModel], ...]] = (Rule, s.LintRequest, s.DryRunRequest)


def routes(service: Service) -> APIRouter:
    """List, add, change, delete, lint, dry run."""
    router = APIRouter(prefix="/v1", tags=["rules"])
    changes = takes_body(Rule, s.Stored)
    changes["openapi_extra"] |= takes_query(s.RuleQuery, s.Stored)["openapi_extra"]

    @router.get("/rules", response_model=s.Rules)
    async def list_rules() -> Response:
        """Every rule, which of them hold now, and what keeps others from it."""
        return reply(await service.work(lambda engine, _: rules.listed(engine), None))

    @router.post("/rules", **takes_body(Rule, s.Stored))
    async def add_rule(request: Request) -> Response:
        """Store a rule; it holds from the next answer on."""
        return reply(await service.work(rules.added, await from_body(request, Rule)))

    @router.get("/rules/{id}", **takes_query(s.RuleQuery, s.Stored))
    async def one_rule(request: Request) -> Response:
        """One rule, and what lint says of it."""
        asked = from_query(request, s.RuleQuery)
        return reply(await service.work(rules.one, asked.id))

    @router.put("/rules/{id}", **changes)
    async def change_rule(request: Request) -> Response:
        """Store a rule in place of the one of this id."""
        asked, rule = from_query(request, s.RuleQuery), await from_body(request, Rule)

        def change(engine: Engine, given: Rule) -> s.Stored:
            return rules.replaced(engine, asked.id, given)

        return reply(await service.work(change, rule))

    @router.delete("/rules/{id}", **takes_query(s.RuleQuery, s.Stored))
    async def delete_rule(request: Request) -> Response:
        """Delete a rule, and say what it was."""
        return reply(await service.work(rules.removed, from_query(request, s.RuleQuery).id))

    @router.post("/rules:lint", **takes_body(s.LintRequest, s.Linted))
    async def lint_rules(request: Request) -> Response:
        """What is wrong with the stored rules, or with those that are sent."""
        return reply(await service.work(rules.linted, await from_body(request, s.LintRequest)))

    @router.post("/rules:dry-run", **takes_body(s.DryRunRequest, s.DryRun))
    async def dry_run(request: Request) -> Response:
        """What a rule would remove, who would gain, and what it would cost; nothing is stored."""
        return reply(await service.work(rehearsal.dry_run, await from_body(request, s.DryRunRequest)))

    return router
