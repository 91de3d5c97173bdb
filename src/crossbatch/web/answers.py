"""The JSON bodies of the service's answers; the OpenAPI description is made from these classes."""

from typing import Literal

from pydantic import BaseModel


class Health(BaseModel):
    """The service runs; `ready`: the network is loaded."""

    status: Literal["ok"]
    images: int
    ready: bool


class Failure(BaseModel):
    """An error: a sentence for people, and a code for programs."""

    error: str
    code: str


class ModelAnswer(BaseModel):
    """The model that embedded the gallery."""

    fingerprint: str
    backbone: str
    dim: int


class MethodAnswer(BaseModel):
    """How a search is answered; `recall_at_10`: the share of the ten nearest images that it finds, if measured."""

    method: Literal["exact", "hnsw"]
    recall_at_10: float | None
    images: int


class MapAnswer(BaseModel):
    """The number of images on the map, and the method of the map."""

    points: int
    method: str


class GalleryAnswer(BaseModel):
    """The gallery, its model, and the limits of the service."""

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
    """A label, and the number of images with it."""

    label: str
    count: int


class LabelsAnswer(BaseModel):
    """Some labels, sorted; `total`: number of labels that fit; `unlabelled`: number of images without a label."""

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
    """Some images; `total`: number of images that fit."""

    images: list[ImageAnswer]
    total: int


class HitAnswer(ImageAnswer):
    """An image that was found, and its cosine to the query."""

    similarity: float


class QueryAnswer(BaseModel):
    """The query; `box`: edges as shares of width and height."""

    id: str | None
    name: str
    width: int
    height: int
    box: list[float] | None


class TimesAnswer(BaseModel):
    """Milliseconds that the search took, by part."""

    embedding: float
    search: float


class SearchAnswer(BaseModel):
    """The images found, the most similar first; `notes`: on labels that no image has, a sentence each."""

    query: QueryAnswer
    hits: list[HitAnswer]
    notes: list[str]
    search: MethodAnswer
    milliseconds: TimesAnswer


class PointsAnswer(BaseModel):
    """The map, by column: the place of each image in the plane; `label` is a position in `labels`, −1 for no label."""

    method: str
    total: int
    labels: list[str]
    id: list[str]
    x: list[float]
    y: list[float]
    label: list[int]
