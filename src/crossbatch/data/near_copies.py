"""Images that look the same at 24 by 24 grey pixels: resized, saved again, or shot twice."""

import torch

from crossbatch.data.crops import View
from crossbatch.data.data_set import Images
from crossbatch.errors import DataError
from crossbatch.progress import watched

SIDE = 24  # pixels
ALIKE = 0.99  # correlation of pixels above which two images look the same
ROWS = 512


def near_copies(images: Images) -> list[list[int]]:
    """Groups of ids of images that look the same; each image resembles at least one other image of its group.

    Images without contrast, and images that cannot be read, are in no group.
    """
    numbers, rows = [], []
    for number in watched(range(len(images)), "looking for near copies"):
        try:
            pixels = images.see(number, lambda wide, high: View((wide, high), (0, 0, wide, high), (SIDE, SIDE), 1))
        except DataError:
            continue
        grey = pixels.flatten().float()
        if grey.max() - grey.min() > 8:
            numbers.append(number)
            rows.append(torch.nn.functional.normalize(grey - grey.mean(), dim=0))
    if not rows:
        return []
    matrix, group_of = torch.stack(rows), {number: {number} for number in numbers}
    for start in watched(range(0, len(matrix), ROWS), "comparing"):
        alike = (matrix[start : start + ROWS] @ matrix[start:].T > ALIKE).triu(1).nonzero()
        for first, second in (alike + start).tolist():
            joined, gone = group_of[numbers[first]], group_of[numbers[second]]
            if joined is not gone:
                joined |= gone
                group_of |= dict.fromkeys(gone, joined)
    groups = {id(group): sorted(group) for group in group_of.values() if len(group) > 1}
    return sorted(groups.values())
