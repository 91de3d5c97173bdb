"""Images in files, decoded when they are asked for."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from torch import Tensor

from crossbatch.data.crops import Look, see, upright
from crossbatch.errors import DataError


class FileImages:
    """Images in files."""

    in_memory = False

    def __init__(self, paths: Iterable[Path | str], root: Path) -> None:
        self.paths, self.root = list(paths), root  # strings too: to make 120,053 paths takes a second

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Image.Image:
        """Decode a file as RGB, the way up that its EXIF data say; 16 bits a pixel are scaled to 8."""
        with self._naming(index), Image.open(self.paths[index]) as image:
            return upright(image)

    def see(self, index: int, look: Look) -> Tensor:
        """Decode no more of a file than a look needs."""
        with self._naming(index):
            return see(Path(self.paths[index]).read_bytes(), look)

    @contextmanager
    def _naming(self, index: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = str(error).split("\n")[0]
            raise DataError(
                f"cannot read the image {self.paths[index]} ({reason}); mend or remove it, or --loop.on_corrupt skip"
            ) from error

    def name(self, index: int) -> str:
        """Path below the root of the data set."""
        path = Path(self.paths[index])
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
