"""BN-Inception, with the layer names of the Caffe weights that were converted to PyTorch, so that they load.

Architecture: Ioffe and Szegedy, Batch normalization, ICML 2015, as trained in Caffe by Yuanjun Xiong; names and
preprocessing: the file `bn_inception-52deb4733.pth` of Cadene's pretrained-models.pytorch.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, pad, relu

from crossbatch.errors import SettingError
from crossbatch.shapes import Images, Maps

# The weights expect values from 0 to 255, minus these means, blue first. The settings state this for values in [0, 1],
# red first. The network itself reverses the channels.
BLUE, GREEN, RED = 104, 117, 128
IMAGE_SETTINGS = {
    "input_size": (3, 224, 224),
    "crop_pct": 224 / 256,
    "mean": (RED / 255, GREEN / 255, BLUE / 255),
    "std": (1 / 255,) * 3,
}


class Block(NamedTuple):
    """Widths of a block's four branches: 1×1; 1×1 and 3×3; 1×1 and two 3×3; pooling and 1×1.

    A block whose `single` and `projected` are 0 halves the map. It has no first branch, and no 1×1 after the pooling.
    """

    name: str
    single: int
    triple: tuple[int, int]
    double: tuple[int, int]
    pool: Literal["avg", "max"]
    projected: int


BLOCKS = (
    Block("3a", 64, (64, 64), (64, 96), "avg", 32),
    Block("3b", 64, (64, 96), (64, 96), "avg", 64),
    Block("3c", 0, (128, 160), (64, 96), "max", 0),
    Block("4a", 224, (64, 96), (96, 128), "avg", 128),
    Block("4b", 192, (96, 128), (96, 128), "avg", 128),
    Block("4c", 160, (128, 160), (128, 160), "avg", 128),
    Block("4d", 96, (128, 192), (160, 192), "avg", 128),
    Block("4e", 0, (128, 192), (192, 256), "max", 0),
    Block("5a", 352, (192, 320), (160, 224), "avg", 128),
    Block("5b", 352, (192, 320), (192, 224), "max", 128),
)


class BNInception(nn.Module):
    """The layers before the pooling. Images float [batch, 1 or 3 channels, height, width], red first.

    BatchNorm's momentum is 0.1. The code of the converted weights says 0.9, which is the same in Caffe's convention.
    """

    num_features = 1024
    image_settings = IMAGE_SETTINGS

    def __init__(self, channels: int, *, pretrained: bool = False) -> None:
        super().__init__()
        if pretrained:
            raise SettingError(
                "bn_inception has no weights on a hub: give the file bn_inception-52deb4733.pth with "
                "--model.pretrained false --model.weights FILE"
            )
        self._add("conv1_7x7_s2", channels, 64, 7, stride=2)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        width = 192
        for block in BLOCKS:
            width = self._add_block(block, width)

    def forward(self, images: Images) -> Maps:
        """Feature maps, to be pooled."""
        x = max_pool2d(self._run(images.flip(1), "conv1_7x7_s2"), 3, 2, ceil_mode=True)
        x = max_pool2d(self._run(x, "conv2_3x3_reduce", "conv2_3x3"), 3, 2, ceil_mode=True)
        for block in BLOCKS:
            x = self._run_block(x, block)
        return x

    @staticmethod
    def group_matcher(*, coarse: bool) -> dict[str, str]:  # noqa: ARG004
        """Four stages: the layers before the inception blocks, then the blocks of each resolution."""
        return {"stem": r"^conv\d", "blocks": r"^inception_(\d)"}

    def _add(self, name: str, before: int, width: int, side: int, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(before, width, side, stride, padding=side // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(width))

    def _add_block(self, block: Block, width: int) -> int:
        """Add the layers of a block; return the width of its output."""
        name, stride = f"inception_{block.name}", 1 if block.single else 2
        if block.single:
            self._add(f"{name}_1x1", width, block.single, 1)
        self._add(f"{name}_3x3_reduce", width, block.triple[0], 1)
        self._add(f"{name}_3x3", *block.triple, 3, stride)
        self._add(f"{name}_double_3x3_reduce", width, block.double[0], 1)
        self._add(f"{name}_double_3x3_1", *block.double, 3)
        self._add(f"{name}_double_3x3_2", block.double[1], block.double[1], 3, stride)
        if block.projected:
            self._add(f"{name}_pool_proj", width, block.projected, 1)
        return block.single + block.triple[1] + block.double[1] + (block.projected or width)

    def _run(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))
        return x

    def _run_block(self, x: Tensor, block: Block) -> Tensor:
        name = f"inception_{block.name}"
        triple = self._run(x, f"{name}_3x3_reduce", f"{name}_3x3")
        double = self._run(x, *(f"{name}_double_3x3_{part}" for part in ("reduce", "1", "2")))
        if not block.single:
            even = pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))  # rounds odd sides up, as the 3×3 do; x ≥ 0
            return torch.cat([triple, double, max_pool2d(even, 3, 2, ceil_mode=True)], 1)
        pooled = (avg_pool2d if block.pool == "avg" else max_pool2d)(x, 3, 1, 1)
        return torch.cat([self._run(x, f"{name}_1x1"), triple, double, self._run(pooled, f"{name}_pool_proj")], 1)
