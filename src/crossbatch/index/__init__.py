"""Galleries: a table of images and their embeddings, an optional Milvus database of the same rows, and search."""

from crossbatch.index.gallery import Gallery, Hit, Method
from crossbatch.index.rows import Image

__all__ = ["Gallery", "Hit", "Image", "Method"]
