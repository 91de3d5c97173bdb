"""The folders that crossbatch writes, known by their files: pictures in them are not images of a data set."""

from collections.abc import Set

CONFIG, DATA, LOCK = "config.yaml", "data.json", "lock"
COMPARISON, SEARCH = "comparison.json", "search.json"
GALLERY, MODEL, CIRCUMSTANCES = "gallery.json", "model", "circumstances.json"
KINDS = (  # several files each: a user's own folder may well have one file of such a name
    ("comparison folder", {COMPARISON, DATA}),
    ("search folder", {SEARCH, DATA}),
    ("gallery folder", {GALLERY, MODEL}),
    ("run folder", {CONFIG, DATA, CIRCUMSTANCES}),
    ("run folder", {CONFIG, DATA, LOCK}),  # a comparison in progress
)


def kind_of(names: Set[str]) -> str | None:
    """The kind of a folder of crossbatch with files of these names; None for any other folder."""
    return next((kind for kind, files in KINDS if files <= names), None)
