"""Draw test queries and their nearest neighbours, without and with memory, as in Fig. 6 of the paper.

    python -m benchmarks.study.gallery RUN_WITHOUT RUN_WITH gallery.png
    python -m benchmarks.study.gallery RUN_WITHOUT RUN_WITH neighbours.png --shown 3 1 --neighbors 6 --columns 2

It shows queries whose nearest neighbour is correct in only one of the two runs: some for each run, chosen at random.
The title gives the numbers of both kinds, so that the choice hides nothing.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from benchmarks.study.figures import COLOURS
from crossbatch.data.data_set import DataSet, Images
from crossbatch.metrics import nearest
from crossbatch.runs import read_config
from crossbatch.training.part_search import Searched, search_run
from crossbatch.training.run_parts import load_data
from crossbatch.training.settings import Settings

RIGHT, WRONG = "#2a9d55", "#d64545"


def main(folders: list[Path], out: Path, shown: tuple[int, int], neighbors: int, columns: int) -> None:
    """Search, choose and draw. `shown`: how many queries that only the memory gets right, and only the other run."""
    loaded = load_data(Settings.from_dict(read_config(folders[0])))
    found = [search_run(folder, loaded, "test") for folder in folders]
    right = torch.stack([one.measured.best_rank == 1 for one in found])
    only = [(right[arm] & ~right[1 - arm]).nonzero()[:, 0] for arm in (0, 1)]
    draw = torch.Generator().manual_seed(0)
    chosen = [some[torch.randperm(len(some), generator=draw)] for some in only]
    queries = torch.cat([chosen[1][: shown[0]], chosen[0][: shown[1]]])
    places = found[0].measured.query_positions[queries].tolist()
    rows, wide = -(-len(places) // columns), 2 + neighbors  # the query, its neighbours, a gap
    ratios = ([1.0] * (wide - 1) + [0.35]) * columns
    figure, grid = plt.subplots(
        2 * rows,
        columns * wide,
        figsize=(0.78 * sum(ratios), 1.5 * rows),
        gridspec_kw={"wspace": 0.08, "hspace": 0.08, "width_ratios": ratios},
    )
    for axes in grid[:, wide - 1 :: wide].flat:
        axes.axis("off")
    for number, place in enumerate(places):
        column = number % columns * wide
        for below, (arm, searched) in enumerate(zip(COLOURS, found, strict=True)):
            row = grid[2 * (number // columns) + below, column : column + wide - 1]
            _draw_row(list(row), loaded, searched, place, arm if column == 0 else "")
    figure.suptitle(
        f"{loaded.name}, {right.shape[1]:,} test queries: the nearest is right only with memory for {len(only[1]):,} "
        f"({shown[0]} shown),\nonly without for {len(only[0]):,} ({shown[1]} shown, last); "
        "green: of the query's class, red: not",
        fontsize=8,
        y=0.915 if columns == 1 else 1.0,
    )
    figure.savefig(out, dpi=110, bbox_inches="tight")
    print(out)


def _draw_row(row: list[Axes], loaded: DataSet, searched: Searched, place: int, arm: str) -> None:
    embedding, label, image = (column[place : place + 1] for column in searched.query)
    gallery = searched.gallery
    near = nearest(embedding, gallery[0], len(row) - 1, query_ids=image, gallery_ids=gallery[2]).positions[0]
    _show(row[0], loaded.images, image, "black")
    row[0].set_ylabel(arm, rotation=0, ha="right", va="center", fontsize=7, color=COLOURS.get(arm, "black"))
    for axes, position in zip(row[1:], near, strict=True):
        _show(axes, loaded.images, gallery[2][position], RIGHT if gallery[1][position] == label else WRONG)


def _show(axes: Axes, images: Images, image: Tensor, colour: str) -> None:
    axes.imshow(images.read(int(image)).convert("RGB"))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs=2)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shown", type=int, nargs=2, default=(5, 3))
    parser.add_argument("--neighbors", type=int, default=8)
    parser.add_argument("--columns", type=int, default=1)
    main(**vars(parser.parse_args()))
