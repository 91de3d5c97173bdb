"""Images that a program passes as paths, PIL images, arrays or tensors."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch import Tensor

from crossbatch.data.crops import Look, opaque, see, upright
from crossbatch.data.image_files import FileImages
from crossbatch.errors import UnreadableError

Given = str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor
FITS = (
    "paths, PIL images, arrays [height, width, 1, 3 or 4] or [height, width] and tensors [1, 3 or 4, height, width] fit"
)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class GivenImages:
    """A list of images; the name of an image is its path, or else its position in the list.

    From a PIL image that is opened but not decoded, `see` reads the file's bytes. It gives the same pixels as the path
    of the file, and leaves the image undecoded.
    """

    in_memory = False

    def __init__(self, images: Sequence[Given]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Image.Image:
        """One image as RGB, upright."""
        source = self._file_or_image(index)
        if isinstance(source, FileImages):
            return source.read(0)
        try:
            return opaque(upright(source)).convert("RGB")
        except Exception as error:
            raise self._unreadable(index, error) from error

    def see(self, index: int, look: Look) -> Tensor:
        """The view of one image that `look` chooses, uint8 [channels, height, width]."""
        source = self._file_or_image(index)
        if isinstance(source, FileImages):
            return source.see(0, look)
        try:
            file = _undecoded(source)
            if file is not None:
                return see(file, look)
            image = upright(source)
            return look(*image.size).of(image)
        except Exception as error:
            raise self._unreadable(index, error) from error

    def name(self, index: int) -> str:
        """The path, or the position in the list."""
        source = self.images[index]
        return os.fspath(source) if isinstance(source, str | os.PathLike) else f"number {index}"

    def _file_or_image(self, index: int) -> FileImages | Image.Image:
        source = self.images[index]
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            raise UnreadableError(f"cannot read the image {source} (it is an address: save it as a file first)")
        if isinstance(source, str | os.PathLike):
            return FileImages([Path(source)], Path())
        if isinstance(source, Image.Image):
            return source
        try:
            return _image_of(source)
        except (ValueError, TypeError) as error:
            raise self._unreadable(index, error) from error

    def _unreadable(self, index: int, error: Exception) -> UnreadableError:
        reason = str(error).split("\n")[0] or type(error).__name__
        return UnreadableError(f"cannot read the image at place {index} of those given ({reason})")


def _undecoded(image: Image.Image) -> bytes | None:
    """The file's bytes of a PIL image that is opened and not decoded; None if its pixels have to be used."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.fp is None or image.tell():
        return None
    place = image.fp.tell()
    image.fp.seek(0)
    file: bytes = image.fp.read()
    image.fp.seek(place)
    return file


def _image_of(given: Any) -> Image.Image:
    """Convert an array or tensor to a PIL image; real numbers from 0 to 1 become levels from 0 to 255."""
    if isinstance(given, Tensor):
        channels_last = given.movedim(0, -1) if given.ndim == 3 else given
        given = (channels_last.float() if channels_last.is_floating_point() else channels_last).detach().cpu().numpy()
    if not isinstance(given, np.ndarray):
        raise TypeError(f"it is of type {type(given).__name__}: {FITS}")
    channels = given.shape[2] if given.ndim == 3 else 1
    if given.ndim not in (2, 3) or channels not in MODES or not given.size:
        raise ValueError(f"its shape is {list(given.shape)}: {FITS}")
    if np.issubdtype(given.dtype, np.floating):
        if not (given.min() >= 0 and given.max() <= 1):  # false for NaN too
            raise ValueError("its levels are real numbers beyond 0 to 1: give them before normalisation, or as uint8")
        given = (given * 255).round().astype(np.uint8)
    if given.dtype != np.uint8:
        raise ValueError(f"its levels are {given.dtype}: give uint8, or real numbers from 0 to 1")
    return Image.fromarray(np.ascontiguousarray(given.squeeze(2) if channels == 1 and given.ndim == 3 else given))
