"""Galleries: images with their embeddings in a table of our own, a Milvus database beside it, and searching them."""

from crossbatch.index.gallery import Gallery, Hit, Method
from crossbatch.index.rows import Image

__all__ = ["Gallery", "Hit", "Image", "Method"]
