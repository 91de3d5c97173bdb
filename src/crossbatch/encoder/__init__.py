"""A trained model to use: pictures in, unit rows out."""

from crossbatch.encoder.encoder import Encoder, load
from crossbatch.encoder.rows import Embedded, embedded

__all__ = ["Embedded", "Encoder", "embedded", "load"]
