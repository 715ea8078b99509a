"""What is asked of the model, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from pydantic import model_validator as check_model

from intently.serving.rules.rule import Boost, FilterText, Pin
from intently.serving.shapes.common import MAX_ITEMS, Answer, Id, Request, Short, Suggestion, Why

MAX_PAIRS = 1000
MAX_EXPLAINED = 50
MAX_CONTEXT = 200
MAX_EXCLUDED = 1000


SuggestedField = Literal[
    "item_id",
    "title",
    "category",
    "price",
    "score",
    "probability",
    "rank",
    "source",
    "propensity",
    "reasons",
]


class Context(Request):
    """What is going on in this visit."""

    item_ids: list[Id] = Field(
        default_factory=list, max_length=MAX_CONTEXT, description="items met in this visit, oldest first"
    )
    cart: list[Id] = Field(default_factory=list, max_length=MAX_CONTEXT, description="items in the cart")
    query: str = Field(default="", max_length=256, description="what was searched for: words of titles")
    page: str = Field(default="", max_length=256, description="the category whose page is looked at")


_NOTHING = Context.model_validate({})


def _nothing() -> Context:
    """One for all requests: nothing changes it, and copying it would cost more than reading the rest."""
    return _NOTHING


class RecommendationRequest(Request):
    """Who asks, or what was just looked at; both may be left out for a stranger."""

    scenario: Short = Field("home", description="a named way to ask: home, similar, cart, buy_again, ...")
    user_id: Id | None = Field(None, description="a user; unknown ones are answered as strangers")
    session_id: Id | None = Field(None, description="a guest's session, or the session of the user")
    context: Context = Field(default_factory=_nothing, description="this visit; not stored")
    n: int | None = Field(None, ge=1, le=MAX_ITEMS, description="how many items; left out: the scenario's")
    exclude_ids: list[Id] = Field(
        default_factory=list, max_length=MAX_EXCLUDED, description="items never to answer"
    )
    filter: FilterText | None = Field(
        None, description="only items that pass, like: price <= 50 and stock > 0"
    )
    boosts: list[Boost] = Field(default_factory=list, max_length=10, description="what moves up or down")
    pins: list[Pin] = Field(default_factory=list, max_length=20, description="items at places of the list")
    diversity: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="0: by relevance alone; 1: by difference alone"
    )
    unserved_minutes: float = Field(
        0.0, ge=0, le=525_600, description="leave out what this user was shown within so many minutes"
    )
    explain: bool = Field(False, description="say why")
    cursor: str | None = Field(None, min_length=1, max_length=200, description="next_cursor of a page before")
    fields: list[SuggestedField] | None = Field(
        None, min_length=1, max_length=10, description="of each item; left out: all"
    )

    @check_model(mode="after")
    def _one_page(self) -> RecommendationRequest:
        moved = self.exclude_ids or self.context.model_fields_set or self.filter or self.boosts or self.pins
        if self.cursor is not None and moved:
            raise ValueError("a cursor goes on in the list that it came from: leave out what would change it")
        return self


class RecommendationQuery(Request):
    """The same for one user in a URL."""

    user_id: Id
    scenario: Short = Field("home", description="a named way to ask")
    n: int | None = Field(None, ge=1, le=MAX_ITEMS, description="how many items; left out: the scenario's")
    explain: bool = Field(False, description="say why")


class SimilarQuery(Request):
    """One item and how many that follow from it."""

    item_id: Id
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="how many items")


class Pair(Request):
    """A user and an item."""

    user_id: Id
    item_id: Id


class RankRequest(Request):
    """Items of the caller's, to be put in order for a user."""

    item_ids: list[Id] = Field(min_length=1, max_length=MAX_PAIRS)
    user_id: Id | None = None
    session_id: Id | None = None
    context: Context = Field(default_factory=_nothing, description="this visit; not stored")
    explain: bool = Field(False, description=f"say why; for at most {MAX_EXPLAINED} items")

    @check_model(mode="after")
    def _few_explained(self) -> RankRequest:
        if self.explain and len(self.item_ids) > MAX_EXPLAINED:
            raise ValueError(f"explain is for at most {MAX_EXPLAINED} items")
        return self


class PredictRequest(Request):
    """One pair (user_id, item_id) or `pairs` of them."""

    user_id: Id | None = None
    item_id: Id | None = None
    pairs: list[Pair] | None = Field(None, min_length=1, max_length=MAX_PAIRS)
    explain: bool = Field(False, description=f"say why; for at most {MAX_EXPLAINED} pairs")

    @check_model(mode="after")
    def _one_or_many(self) -> PredictRequest:
        single = self.user_id is not None and self.item_id is not None
        if self.pairs is None and not single:
            raise ValueError("give user_id and item_id, or pairs")
        if self.pairs is not None and (self.user_id is not None or self.item_id is not None):
            raise ValueError("give user_id and item_id, or pairs, not both")
        if self.explain and len(self.pairs or ()) > MAX_EXPLAINED:
            raise ValueError(f"explain is for at most {MAX_EXPLAINED} pairs")
        return self


@dataclass(frozen=True, slots=True)
class Arm:
    """An experiment, and the arm of it that an answer was made in."""

    name: str
    arm: str


@dataclass(frozen=True, slots=True)
class Recommendations(Answer):
    """A list of items, best first, and who filled it."""

    recommendation_id: str
    scenario: str
    user_id: str | None
    session_id: str | None
    filled_by: str
    experiment: Arm | None
    next_cursor: str | None
    items: list[Suggestion]


@dataclass(frozen=True, slots=True)
class Similar(Answer):
    """Items that follow from one item."""

    item_id: str
    items: list[Suggestion]


@dataclass(frozen=True, slots=True)
class Prediction:
    """P(the event within the horizon) of one pair and the decision at the threshold."""

    user_id: str
    item_id: str
    probability: float | None
    decision: bool | None
    reasons: list[Why]
    note: str


@dataclass(frozen=True, slots=True)
class Predictions(Answer):
    """One prediction a pair, in the order asked."""

    threshold: float
    predictions: list[Prediction]
