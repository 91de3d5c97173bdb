"""What is to be seen of an image, and decoding no more of its file than that takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from simplejpeg import decode_jpeg, decode_jpeg_header
from torch import Tensor
from torch.nn.functional import interpolate

SCALES = (1, 2, 4, 8)  # what libjpeg divides by at no cost while it decodes; eighths between them are no faster
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class View:
    """A box (left, upper, right, lower) of an upright image of `whole` (width, height), and the size it is wanted at.

    `reserve`: how many times the wanted size the box must keep where its file is decoded at a smaller scale.
    """

    whole: tuple[int, int]
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    channels: int = 3
    mirrored: bool = False
    reserve: float = 1.0

    @property
    def scale(self) -> int:
        """What the sides of the image may be divided by while the box keeps what is wanted."""
        left, upper, right, lower = self.box
        excess = min((right - left) / self.size[0], (lower - upper) / self.size[1]) / self.reserve
        return max((scale for scale in SCALES if scale <= excess), default=1)

    def of(self, image: Image.Image) -> Tensor:
        """Cut it out of an upright image, or of a smaller copy: uint8 [channels, height, width]."""
        mode = "L" if self.channels == 1 else "RGB"
        return self.cut(np.asarray(image if image.mode == mode else image.convert(mode)))

    def cut(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The same, of pixels [height, width] or [height, width, channels]; the box goes to the nearest whole ones.

        Nothing here wakes torch's own threads: where several images are read at once they would fight for the cores.
        """
        (left, right), (upper, lower) = (
            tuple((edge * now + before // 2) // before for edge in edges)
            for edges, now, before in zip((self.box[::2], self.box[1::2]), pixels.shape[1::-1], self.whole, strict=True)
        )
        piece = np.array(pixels[upper:lower, left:right])
        seen = torch.from_numpy(piece.reshape(*piece.shape[:2], self.channels)).permute(2, 0, 1)
        if seen.shape[:0:-1] != self.size:
            # Pillow's bilinear filter with antialiasing, to a level of 255, in a quarter of the time.
            seen = interpolate(seen[None], self.size[::-1], mode="bilinear", antialias=True)[0]
        return torch.from_numpy(np.flip(seen.numpy(), 2).copy()) if self.mirrored else seen


Look = Callable[[int, int], View]  # what to see of an upright image of this width and height


def see(file: bytes, look: Look) -> Tensor:
    """What a look shows of an image file: uint8 [channels, height, width].

    JPEG files are decoded at the smallest scale that is enough. Raises what Pillow raises.
    """
    seen = _see_plain_jpeg(file, look)
    if seen is not None:
        return seen
    with Image.open(BytesIO(file)) as image:
        if image.format not in ("JPEG", "MPO"):
            whole = upright(image)
            return look(*whole.size).of(whole)
        sideways = image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
        view = look(*(image.size[::-1] if sideways else image.size))
        image.draft(None, (image.width // view.scale, image.height // view.scale))
        return view.of(upright(image))


def _see_plain_jpeg(file: bytes, look: Look) -> Tensor | None:
    """A JPEG file as most are, in an eighth less time than by Pillow; None for what Pillow knows better.

    That is files with EXIF data, of print colours, enormous or damaged ones, and all that are no JPEG.
    """
    if not file.startswith(b"\xff\xd8") or b"Exif\0\0" in file:
        return None
    try:
        height, width, colours, _ = decode_jpeg_header(file)
        if colours not in ("YCbCr", "Gray") or height * width > (Image.MAX_IMAGE_PIXELS or math.inf):
            return None
        view = look(width, height)
        smallest = {"min_height": math.ceil(height / view.scale), "min_width": math.ceil(width / view.scale)}
        return view.cut(decode_jpeg(file, "GRAY" if view.channels == 1 else "RGB", **smallest))
    except ValueError:
        return None


def upright(image: Image.Image) -> Image.Image:
    """An opened file as RGB, the way up that its EXIF data say; 16 bits a pixel are scaled to 8."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")
