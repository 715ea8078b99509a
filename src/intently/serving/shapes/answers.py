"""What is asked of the model, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field
from pydantic import model_validator as check_model

from intently.serving.shapes.common import MAX_ITEMS, Answer, Id, Request, Suggestion, Why

MAX_PAIRS = 1000
MAX_EXPLAINED = 50
MAX_CONTEXT = 200
MAX_EXCLUDED = 1000


class RecommendationRequest(Request):
    """Who asks, or what was just looked at; both may be left out for a stranger."""

    user_id: Id | None = Field(None, description="a user; unknown ones are answered as strangers")
    context_item_ids: list[Id] = Field(
        default_factory=list,
        max_length=MAX_CONTEXT,
        description="items met in this visit, oldest first; not stored",
    )
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="how many items")
    exclude_ids: list[Id] = Field(
        default_factory=list, max_length=MAX_EXCLUDED, description="items never to answer"
    )
    explain: bool = Field(False, description="say why")


class RecommendationQuery(Request):
    """The same for one user in a URL."""

    user_id: Id
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="how many items")
    explain: bool = Field(False, description="say why")


class SimilarQuery(Request):
    """One item and how many that follow from it."""

    item_id: Id
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="how many items")


class Pair(Request):
    """A user and an item."""

    user_id: Id
    item_id: Id


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
class Recommendations(Answer):
    """A list of items, best first, and who filled it."""

    recommendation_id: str
    user_id: str | None
    filled_by: str
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
