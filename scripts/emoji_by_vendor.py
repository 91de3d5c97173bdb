"""Make a data set of emoji as four vendors draw them, from the npm registry (340 MB): one folder for each class.

    python scripts/emoji_by_vendor.py emoji
    crossbatch train emoji --model.image_size 32

Each class is an emoji. Its images are those of Apple, Google, Twitter and Facebook, 64 pixels wide, on white. The data
set leaves out skin tones, which differ only in a colour; emoji that a vendor lacks; and emoji that a vendor draws
exactly like another one, such as the flags of Norway and of Svalbard. The images belong to the vendors; this repository
contains none of them. The packages are emoji-datasource-…, version 16.0.0. Needs npm.
"""

import hashlib
import subprocess
import sys
import tarfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

VENDORS, VERSION = ("apple", "google", "twitter", "facebook"), "16.0.0"
SKIN_TONES = {f"1f3f{digit}" for digit in "bcdef"}


def main() -> None:
    """Fetch the packages and write the emoji that all four vendors have."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    out = Path(sys.argv[1])
    if out.exists():
        raise SystemExit(f"{out} is there already: remove it, or name another folder")
    drawn = {vendor: _drawn_by(vendor) for vendor in VENDORS}
    for emoji in sorted(set.intersection(*(set(images) for images in drawn.values()))):
        folder = out / emoji
        folder.mkdir(parents=True)
        for vendor, images in drawn.items():
            images[emoji].save(folder / f"{vendor}.png")
    classes = len(list(out.iterdir()))
    print(f"{classes:,} emoji by {len(VENDORS)} vendors in {out}")


def _drawn_by(vendor: str) -> dict[str, Image.Image]:
    """The images of a vendor by the code points of the emoji, without images that two emoji share."""
    with TemporaryDirectory() as folder:
        package = f"emoji-datasource-{vendor}@{VERSION}"
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603, S607
        (archive,) = Path(folder).glob("*.tgz")
        images = {}
        with tarfile.open(archive) as members:
            for member in members:
                path = Path(member.name)
                if path.suffix != ".png" or path.parts[1:-1] != ("img", vendor, "64"):
                    continue
                content = members.extractfile(member)
                if content is not None and not SKIN_TONES & set(path.stem.split("-")):
                    images[path.stem] = _on_white(content.read())
    prints = {emoji: hashlib.sha256(image.tobytes()).digest() for emoji, image in images.items()}
    shared = Counter(prints.values())
    return {emoji: image for emoji, image in images.items() if shared[prints[emoji]] == 1}


def _on_white(png: bytes) -> Image.Image:
    picture = Image.open(BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


if __name__ == "__main__":
    main()
