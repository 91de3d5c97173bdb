"""Embedding with a trained model: images in, embeddings of length 1 out."""

from crossbatch.encoder.encoder import Encoder, load
from crossbatch.encoder.rows import Embedded, embedded

__all__ = ["Embedded", "Encoder", "embedded", "load"]
