"""Images in files, decoded when they are read."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from crossbatch.data.crops import Look, opaque, see, upright
from crossbatch.data.formats import opened
from crossbatch.errors import UnreadableError
from crossbatch.harmless import shown

try:
    from pillow_heif import register_heif_opener
except ModuleNotFoundError:
    READS_HEIC = False
else:
    READS_HEIC = True
    register_heif_opener()
HEIC = (b"heic", b"heix", b"hevc", b"mif1")  # the brand, from the ninth byte on, behind `ftyp`
NEEDS_HEIF = 'needs pillow-heif: pip install ".[heif]" in the clone of crossbatch'


class FileImages:
    """Images in files; the id of an image is its position in `paths`."""

    in_memory = False

    def __init__(self, paths: Iterable[Path | str], root: Path) -> None:
        self.paths, self.root = list(paths), root  # strings stay strings: making 120,053 paths takes a second

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Image.Image:
        """Decode a file as RGB, on white where it is transparent, and turn it upright by its EXIF data."""
        path = Path(self.paths[index])
        with naming(path), opened(path.read_bytes()) as image:
            return opaque(upright(image)).convert("RGB")

    def see(self, index: int, look: Look) -> Tensor:
        """Decode no more of a file than the view that `look` chooses."""
        with naming(self.paths[index]):
            return see(Path(self.paths[index]).read_bytes(), look)

    def name(self, index: int) -> str:
        """The path relative to the root of the data set; the whole path of a file elsewhere."""
        path = Path(self.paths[index])
        return shown(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Turn every error of a decoder into an `UnreadableError`, one sentence that names the file."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        cause = reason_of(error, lambda: Path(path).read_bytes()[:512])
        reason = f"cannot read the image {shown(path)} ({cause})"
        raise UnreadableError(reason, "mend or remove it") from error


def as_label(name: str) -> str:
    """The label of a folder or table entry. An é of one code point and one of two, as on macOS, are the same."""
    label = shown(name)  # without combining marks it stays: U+F900 and U+8C48 are two characters
    return unicodedata.normalize("NFC", label) if any(map(unicodedata.combining, label)) else label


def reason_of(error: Exception, beginning: Callable[[], bytes]) -> str:
    """The reason of a decoder's error in plain words; `beginning` reads the file's first bytes, if they tell more."""
    if isinstance(error, UnidentifiedImageError):
        return _what_it_is(beginning())
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "truncated" in str(error).lower():
        return "the file is incomplete: its end is missing"
    return re.sub(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>", "", str(error).split("\n")[0]) or type(error).__name__


def _what_it_is(head: bytes) -> str:
    if not head:
        return "the file is empty"
    if head[4:8] == b"ftyp" and head[8:12] in HEIC:
        return "it is HEIC, and damaged" if READS_HEIC else f"HEIC {NEEDS_HEIF}"
    try:
        head.decode("ascii")
    except UnicodeDecodeError:
        return "not a format that Pillow knows, or its beginning is damaged"
    return "it is text"
