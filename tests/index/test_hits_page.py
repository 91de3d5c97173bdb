"""Tests of the page of hits: hits are told apart at a glance, the query is named once, and names do no harm."""

import re
from pathlib import Path

from PIL import Image

from crossbatch.index.hits_page import Shown, hits_page
from crossbatch.index.thumbnails import thumbnail

HOSTILE = "javascript:alert(1) <a href='http://x'>&\"x"


def page(tmp_path: Path, label: str | None = "class & co") -> str:
    Image.new("RGB", (80, 60)).save(tmp_path / "photo.png")
    with Image.open(tmp_path / "photo.png") as image:
        picture = thumbnail(image)[0]
    hits = [Shown(picture, f"a/{HOSTILE}.png", label, 0.91234)]
    return hits_page("photos & more", [(Shown(picture, "asked.png"), hits)])


def test_the_query_is_named_once_and_a_hit_by_similarity_label_and_path_each_in_its_own_way(tmp_path: Path) -> None:
    text = page(tmp_path)
    seen = re.sub(r'alt="[^"]*"', "", text)
    assert seen.count("asked.png") == 1
    assert "<b>class &amp; co</b>" in text
    assert '<span class="similarity">0.912</span><br><b>' in text
    assert re.search(r"</b><br><span class=\"path\">a/javascript", text)
    assert "<title>Similar images in photos &amp; more</title>" in text
    assert "<b>" not in page(tmp_path, None)


def test_no_name_becomes_a_link_or_a_tag(tmp_path: Path) -> None:
    text = page(tmp_path, HOSTILE)
    assert "<a" not in text
    assert not re.search(r"\shref|<script|\son\w+=", re.sub(r">[^<]*<|alt=\"[^\"]*\"", "><", text))
