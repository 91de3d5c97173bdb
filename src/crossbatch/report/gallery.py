"""Example queries of a report and their nearest neighbours, without and with memory, one above the other."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crossbatch import runs
from crossbatch.report.curves import Arm
from crossbatch.report.plots import Colour

SHOWN = 12
PNG = "data:image/png;base64,"


class Picture(NamedTuple):
    """A thumbnail.

    `uri`: data URI, empty if the file is gone. `text`: description in words. `right`: a neighbour of the query's class.
    `name`: the class.
    """

    uri: str
    text: str
    right: bool = False
    name: str = ""


class Row(NamedTuple):
    """The neighbours that one arm found, the nearest first."""

    name: str
    colour: Colour
    neighbors: list[Picture]


class Card(NamedTuple):
    """One query, and a row of neighbours for each arm."""

    title: str
    picture: Picture
    rows: list[Row]


class Gallery(NamedTuple):
    """Cards in the order shown, and a caption that explains the order."""

    part: str
    caption: str
    cards: list[Card]


def gallery(arms: Sequence[Arm]) -> Gallery | None:
    """Cards of the queries for which the first run of every arm has examples; None without such queries."""
    arms = [arm for arm in arms if arm.folders]
    folders = [arm.folders[0] / runs.EXAMPLES for arm in arms]
    parts = sorted(path.name for path in folders[0].glob("*")) if folders else []
    parts.sort(key="validation".__eq__)  # test lists, whatever their names, come before validation
    part = next((part for part in parts if all(_has(folder, part) for folder in folders)), None)
    if part is None:
        return None
    found_by_arm = [
        {query["id"]: query for query in runs.read_json(folder / part / "queries.json")} for folder in folders
    ]
    shared = [image for image in found_by_arm[0] if all(image in other for other in found_by_arm)]
    if not shared:
        return None
    ordered = sorted(shared, key=lambda image: _agreement([queries[image] for queries in found_by_arm]))
    cards = []
    for image in ordered[:SHOWN]:
        rows = [
            Row(arm.name, arm.colour, [_neighbor(folder / part, near) for near in queries[image]["neighbors"]])
            for arm, folder, queries in zip(arms, folders, found_by_arm, strict=True)
        ]
        query = found_by_arm[0][image]
        name = str(query["class"])
        cards.append(Card(name, Picture(_data_uri(folders[0] / part, query), f"query: {name}"), rows))
    return Gallery(part, _caption(part, [[queries[i] for queries in found_by_arm] for i in shared], len(cards)), cards)


def suspicious(arm: Arm) -> Gallery | None:
    """Cards of images whose neighbours agree on another label, in the order of suspects.json; None without any."""
    for folder in sorted((arm.folders[0] / runs.EXAMPLES).glob("*")) if arm.folders else ():
        file = folder / "suspects.json"
        suspects = runs.read_json(file) if file.is_file() else []
        if suspects:
            cards = []
            for image in suspects[:SHOWN]:
                row = Row(arm.name, arm.colour, [_neighbor(folder, near) for near in image["neighbors"]])
                name = f"{image['name']}, labelled {image['class']}"
                cards.append(Card(name, Picture(_data_uri(folder, image), name), [row]))
            count = f"{len(cards)} of {len(suspects)} images of the {folder.name} part"
            return Gallery(folder.name, f"{count} whose neighbours agree on another label.", cards)
    return None


def _caption(part: str, queries: list[list[dict[str, Any]]], shown: int) -> str:
    """Caption: the number of queries, their order, and how the arms compare on all queries drawn."""
    kept = f"{shown} of {len(queries)} queries" if shown < len(queries) else f"{shown} queries"
    if len(queries[0]) == 1:
        return f"{kept}, drawn at random from the {part} classes, each with its nearest neighbours, nearest first."
    only = [sum(_first(pair[i]) and not _first(pair[1 - i]) for pair in queries) for i in (0, 1)]
    return (
        f"{kept}, drawn at random from the {part} classes and sorted: first those whose nearest neighbour is right "
        "with one and wrong with the other, then those with a different number of right neighbours, then those on "
        f"which both agree. Of all {len(queries)}, the nearest neighbour is right only with memory for {only[1]} and "
        f"only without for {only[0]}. Both are runs of the first seed."
    )


def _agreement(pair: Sequence[dict[str, Any]]) -> int:
    """0 if the arms differ on whether the nearest neighbour is right, 1 if only on how many are, else 2."""
    if len({_first(query) for query in pair}) > 1:
        return 0
    return 1 if len({sum(n["right"] for n in query["neighbors"]) for query in pair}) > 1 else 2


def _first(query: dict[str, Any]) -> bool:
    return bool(query["neighbors"]) and bool(query["neighbors"][0]["right"])


def _neighbor(folder: Path, neighbor: dict[str, Any]) -> Picture:
    right = bool(neighbor["right"])
    text = f"{'right' if right else 'wrong'}: {neighbor['class']} (similarity {neighbor['similarity']:.2f})"
    return Picture(_data_uri(folder, neighbor), text, right, str(neighbor["class"]))


def _data_uri(folder: Path, item: dict[str, Any]) -> str:
    return picture_uri(folder / Path(item["picture"]).name)


def picture_uri(path: Path) -> str:
    """A PNG file as a data URI; empty if it is gone, or a link, since a run from a stranger may link to any file."""
    content = b"" if path.is_symlink() or not path.is_file() else path.read_bytes()
    return PNG + base64.b64encode(content).decode("ascii") if content.startswith(b"\x89PNG\r\n") else ""


def _has(examples: Path, part: str) -> bool:
    return (examples / part / "queries.json").is_file()
