"""What is to be seen of an image, and decoding no more of its file than that takes."""

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

SCALES = (1, 2, 4, 8)  # what libjpeg divides by at no cost while it decodes; eighths between them are no faster
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

# Pillow warns of images of 90 million pixels and refuses those of 179 million: the second is enough. Of EXIF data that
# cannot be read, of TIFF tags and of containers it warns too, for each file.
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
    """A box (left, upper, right, lower) of an upright image of `whole` (width, height), and the size it is wanted at.

    `reserve`: how many times the wanted size the box must keep where its file is decoded at a smaller scale.
    `background`: what shows where the image is transparent.
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
        """What the sides of the image may be divided by while the box keeps what is wanted."""
        left, upper, right, lower = self.box
        excess = min((right - left) / self.size[0], (lower - upper) / self.size[1]) / self.reserve
        return max((scale for scale in SCALES if scale <= excess), default=1)

    def of(self, image: Image.Image) -> Tensor:
        """Cut it out of an upright image, or of a smaller copy: uint8 [channels, height, width]."""
        mode = "L" if self.channels == 1 else "RGB"
        image = opaque(image, self.background)
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
    with opened(file) as image:
        if image.format not in ("JPEG", "MPO"):
            whole = upright(image)
            return look(*whole.size).of(whole)
        view = look(*(image.size[::-1] if orientation(image) in SIDEWAYS else image.size))
        image.draft(None, (image.width // view.scale, image.height // view.scale))
        return view.of(upright(image))


def _see_plain_jpeg(file: bytes, look: Look) -> Tensor | None:
    """A JPEG file as most are, in an eighth less time than by Pillow; None for what Pillow knows better.

    That is files with EXIF data, of print colours, enormous or damaged ones, and all that are no JPEG.
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
    """An opened file the way up that its EXIF data say."""
    image.load()  # which turns a TIFF by itself
    turn = TURNS.get(orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"):  # else it would be turned again
        turned.info.pop(name, None)
    return turned


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened file; 1 where there is none, or none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data raise what they like: struct.error, SyntaxError, …
        return 1


def opaque(image: Image.Image, background: Colour = WHITE) -> Image.Image:
    """An image as RGB or grey of 8 bits, on a background where it is transparent.

    Greys of 16 bits lose their last 8, real numbers from 0 to 1 become levels; raises ValueError for deeper greys,
    which may mean any range.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        pixels = np.asarray(image)
        if image.mode == "I" or not 0 <= pixels.min() <= pixels.max() <= 1:
            kind = "whole numbers of 32 bits" if image.mode == "I" else "real numbers beyond 0 to 1"
            raise ValueError(f"its levels are {kind}, of which nobody says what is white: save it with 8 or 16 bits")
        return Image.fromarray((pixels * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, background), shown).convert("RGB")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")
