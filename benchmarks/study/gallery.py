"""Draw queries of test and their nearest neighbours, without and with memory, as in Fig. 6 of the paper.

    python -m benchmarks.study.gallery RUN_WITHOUT RUN_WITH docs/study-gallery.png

Of the queries whose nearest neighbour only the one or only the other run finds, some of each, drawn at random; the
numbers of both are in the title, so that the choice hides nothing.
"""

import sys
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

ONLY_WITH, ONLY_WITHOUT, NEIGHBORS = 5, 3, 8
RIGHT, WRONG = "#2a9d55", "#d64545"


def main(folders: list[Path], out: Path) -> None:
    """Search, choose, draw."""
    loaded = load_data(Settings.from_dict(read_config(folders[0])))
    found = [search_run(folder, loaded, "test") for folder in folders]
    right = torch.stack([one.measured.best_rank == 1 for one in found])
    only = [(right[arm] & ~right[1 - arm]).nonzero()[:, 0] for arm in (0, 1)]
    draw = torch.Generator().manual_seed(0)
    chosen = [some[torch.randperm(len(some), generator=draw)] for some in only]
    queries = torch.cat([chosen[1][:ONLY_WITH], chosen[0][:ONLY_WITHOUT]])
    places = found[0].measured.query_positions[queries].tolist()
    figure, grid = plt.subplots(
        2 * len(places), 1 + NEIGHBORS, figsize=(7, 1.5 * len(places)), gridspec_kw={"wspace": 0.08, "hspace": 0.08}
    )
    for row, place in enumerate(places):
        for number, (arm, searched) in enumerate(zip(COLOURS, found, strict=True)):
            _draw_row(grid[2 * row + number], loaded, searched, place, arm)
    figure.suptitle(
        f"{loaded.name}, {right.shape[1]:,} test queries: the nearest is right only with memory for {len(only[1]):,} "
        f"({ONLY_WITH} shown),\nonly without for {len(only[0]):,} ({ONLY_WITHOUT} shown, last); "
        "green: of the query's class, red: not",
        fontsize=8,
        y=0.915,
    )
    figure.savefig(out, dpi=110, bbox_inches="tight")
    print(out)


def _draw_row(row: list[Axes], loaded: DataSet, searched: Searched, place: int, arm: str) -> None:
    embedding, label, image = (column[place : place + 1] for column in searched.query)
    gallery = searched.gallery
    near = nearest(embedding, gallery[0], NEIGHBORS, query_ids=image, gallery_ids=gallery[2]).positions[0]
    _show(row[0], loaded.images, image, COLOURS[arm])
    row[0].set_ylabel(arm, rotation=0, ha="right", va="center", fontsize=7, color=COLOURS[arm])
    for axes, position in zip(row[1:], near, strict=True):
        _show(axes, loaded.images, gallery[2][position], RIGHT if gallery[1][position] == label else WRONG)


def _show(axes: Axes, images: Images, image: Tensor, colour: str) -> None:
    axes.imshow(images.read(int(image)).convert("RGB"))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main([Path(sys.argv[1]), Path(sys.argv[2])], Path(sys.argv[3]))
