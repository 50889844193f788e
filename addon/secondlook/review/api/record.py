"""What the API's records and paths share: the contract's shapes as types, for the OpenAPI document."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

type Moment = Annotated[str, Field(description="RFC 3339, UTC", examples=["2026-01-31T12:00:00.000Z"])]
type SubjectText = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
type ClientName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=256),
    Field(description="an address, a network or a user's name"),
]


type Id = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
type Limit = Annotated[int, Query(ge=1, le=1000)]


class Record(BaseModel):
    """Base of all records: unknown values are null, never missing."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")


class Problem(Record):
    """The one error shape (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
