"""The picture formats that are read, never one that runs a program as PostScript does."""

from PIL import Image

FORMATS = (
    "JPEG",
    "MPO",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "AVIF",
    "HEIF",
    "JPEG2000",
    "PPM",
    "TGA",
)


def available() -> list[str]:
    """Those that Pillow has here; whoever opens a file names them, whatever the file is called."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]
