"""Views of an image, and decoding no more of its file than a view needs."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from simplejpeg import decode_jpeg, decode_jpeg_header
from torch import Tensor
from torch.nn.functional import interpolate

from crossbatch.data.formats import is_endless, opened

SCALES = (1, 2, 4, 8)  # libjpeg divides by these while it decodes, at no cost; eighths between them are no faster
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)

# Pillow warns about images above 90 million pixels and refuses those above 179 million: the refusal is enough.
# For each file with damaged EXIF data, TIFF tags or containers it warns too.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
for told in (
    "(Possibly )?[Cc]orrupt EXIF data",
    "Truncated File Read",
    "Metadata Warning",
    "Image appears to be a malformed MPO",
    "Invalid APNG",
    "Image was not the expected size",
):
    warnings.filterwarnings("ignore", told, UserWarning, "PIL")


@dataclass(frozen=True)
class View:
    """A box of an upright image, and the size that the box is scaled to.

    `whole`: width and height of the image. `box`: left, upper, right, lower. `size`: width and height of the result.
    `reserve`: how many times `size` the box must still have after the file is decoded at a smaller scale.
    `background`: the colour that shows where the image is transparent.
    """

    whole: tuple[int, int]
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    channels: int = 3
    mirrored: bool = False
    reserve: float = 1.0
    background: Colour = WHITE

    @property
    def scale(self) -> int:
        """The largest of `SCALES` that divides the image's sides so that the box keeps `reserve` times `size`, or 1."""
        left, upper, right, lower = self.box
        excess = min((right - left) / self.size[0], (lower - upper) / self.size[1]) / self.reserve
        return max((scale for scale in SCALES if scale <= excess), default=1)

    def of(self, image: Image.Image) -> Tensor:
        """Cut the view out of an upright image or a smaller copy of it: uint8 [channels, height, width]."""
        mode = "L" if self.channels == 1 else "RGB"
        image = opaque(image, self.background)
        return self.cut(np.asarray(image if image.mode == mode else image.convert(mode)))

    def cut(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The same for pixels [height, width] or [height, width, channels]; edges of the box are rounded to pixels.

        Nothing here starts torch's own threads: when several images are read at once, they would compete for the cores.
        """
        (left, right), (upper, lower) = (
            tuple((edge * side + full // 2) // full for edge in edges)
            for edges, side, full in zip((self.box[::2], self.box[1::2]), pixels.shape[1::-1], self.whole, strict=True)
        )
        piece = np.array(pixels[upper:lower, left:right])
        view = torch.from_numpy(piece.reshape(*piece.shape[:2], self.channels)).permute(2, 0, 1)
        if view.shape[:0:-1] != self.size:
            # Within one level of 255 of Pillow's bilinear filter with antialiasing, in a quarter of the time.
            view = interpolate(view[None], self.size[::-1], mode="bilinear", antialias=True)[0]
        return torch.from_numpy(np.flip(view.numpy(), 2).copy()) if self.mirrored else view


Look = Callable[[int, int], View]  # width and height of an upright image → the view of it


def see(file: bytes, look: Look) -> Tensor:
    """Decode the view of an image file that `look` chooses: uint8 [channels, height, width].

    JPEG files are decoded at the smallest scale that is enough. Errors of Pillow are passed on.
    """
    pixels = _see_plain_jpeg(file, look)
    if pixels is not None:
        return pixels
    with opened(file) as image:
        if image.format not in ("JPEG", "MPO"):
            turned = upright(image)
            return look(*turned.size).of(turned)
        view = look(*(image.size[::-1] if orientation(image) in SIDEWAYS else image.size))
        image.draft(None, (image.width // view.scale, image.height // view.scale))
        return view.of(upright(image))


def _see_plain_jpeg(file: bytes, look: Look) -> Tensor | None:
    """Decode a plain JPEG file in an eighth less time than Pillow takes; None for a file that is left to Pillow.

    Pillow reads damaged files, files with EXIF data, other colours than YCbCr and grey, or very many pixels or scans,
    and all other formats.
    """
    if not file.startswith(b"\xff\xd8") or b"Exif\0\0" in file or is_endless(file):
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
    """Load an opened file and turn it upright by its EXIF data."""
    image.load()  # Pillow turns a TIFF here by itself
    turn = TURNS.get(orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"):  # else it would be turned again
        turned.info.pop(name, None)
    return turned


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened file; 1 if there is none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data may raise anything: struct.error, SyntaxError, …
        return 1


def opaque(image: Image.Image, background: Colour = WHITE) -> Image.Image:
    """Convert an image to RGB or grey of 8 bits; `background` shows where it is transparent.

    Greys of 16 bits lose their last 8 bits, and real numbers from 0 to 1 become levels from 0 to 255. Raises ValueError
    for other real numbers and for greys of 32 bits, since their range is unknown.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        pixels = np.asarray(image)
        if image.mode == "I" or not 0 <= pixels.min() <= pixels.max() <= 1:
            kind = "whole numbers of 32 bits" if image.mode == "I" else "real numbers beyond 0 to 1"
            raise ValueError(f"its levels are {kind}, and the level of white is unknown: save it with 8 or 16 bits")
        return Image.fromarray((pixels * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, background), shown).convert("RGB")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")
