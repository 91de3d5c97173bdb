"""What the service answers, by its shape; the OpenAPI description is made from these."""

from typing import Literal

from pydantic import BaseModel


class Health(BaseModel):
    """Whether it runs; `ready`: the network is loaded."""

    status: Literal["ok"]
    images: int
    ready: bool


class Failure(BaseModel):
    """Why not, in a sentence for people and a word for programs."""

    error: str
    code: str


class ModelAnswer(BaseModel):
    """What the gallery was embedded by."""

    fingerprint: str
    backbone: str
    dim: int


class MethodAnswer(BaseModel):
    """How a search is answered, and what share of the ten nearest it finds, if that was measured."""

    method: Literal["exact", "hnsw"]
    recall_at_10: float | None
    images: int


class MapAnswer(BaseModel):
    """What is known of the map."""

    points: int
    method: str


class GalleryAnswer(BaseModel):
    """What a page needs first."""

    name: str
    images: int
    labels: int
    unlabelled: int
    version: str
    model: ModelAnswer
    search: MethodAnswer
    map: MapAnswer | None
    limits: dict[str, float]
    ready: bool
    token: bool
    notes: list[str]


class LabelAnswer(BaseModel):
    """A label and how many images have it."""

    label: str
    count: int


class LabelsAnswer(BaseModel):
    """Labels by name."""

    labels: list[LabelAnswer]
    total: int
    unlabelled: int


class ImageAnswer(BaseModel):
    """An image of the gallery."""

    id: str
    path: str
    label: str | None
    width: int
    height: int


class ImagesAnswer(BaseModel):
    """Some images, of how many."""

    images: list[ImageAnswer]
    total: int


class HitAnswer(ImageAnswer):
    """An image that was found."""

    similarity: float


class QueryAnswer(BaseModel):
    """What was searched for; `box`: shares of width and height."""

    id: str | None
    name: str
    width: int
    height: int
    box: list[float] | None


class TimesAnswer(BaseModel):
    """How long it took."""

    embedding: float
    search: float


class SearchAnswer(BaseModel):
    """What was found, most similar first."""

    query: QueryAnswer
    hits: list[HitAnswer]
    search: MethodAnswer
    milliseconds: TimesAnswer


class PointsAnswer(BaseModel):
    """Columns: the place of each image in the plane; `label` is a position among `labels`, −1 for none."""

    method: str
    total: int
    labels: list[str]
    id: list[str]
    x: list[float]
    y: list[float]
    label: list[int]
