"""A page of queries and their hits as pictures, in one HTML file that needs no server."""

import base64
import html
from collections.abc import Sequence
from typing import NamedTuple

from crossbatch.index.thumbnails import media_type

STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
h1 { font-size: 1.25rem; } h2 { font-size: 1rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .75rem; list-style: none;
     padding: 0; margin: 0; }
figure { margin: 0; } figcaption { font-size: .8rem; overflow-wrap: anywhere; }
img { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: .4rem; background: #8881; }
section { content-visibility: auto; contain-intrinsic-size: auto 30rem; } nav { columns: 14rem; }
.query { width: 9rem; } .similarity { font-variant-numeric: tabular-nums; }
.path { opacity: .7; }
"""


class Shown(NamedTuple):
    """A picture and the parts of its caption."""

    picture: bytes
    name: str
    label: str | None = None
    similarity: float | None = None


def hits_page(gallery: str, searches: Sequence[tuple[Shown, Sequence[Shown]]]) -> str:
    """The page, as HTML; `searches`: each query with its hits, the most similar first."""
    parts = [
        f'<section id="{number}"><h2>{html.escape(query.name)}</h2><div class="query">{_picture(query)}</div>'
        f"<h2>{len(hits)} most similar</h2><ul>{''.join(f'<li>{_figure(hit)}</li>' for hit in hits)}</ul></section>"
        for number, (query, hits) in enumerate(searches, 1)
    ]
    links = [f'<a href="#{number}">{html.escape(query.name)}</a><br>' for number, (query, _) in enumerate(searches, 1)]
    if len(searches) > 1:
        parts.insert(0, f'<nav aria-label="queries">{"".join(links)}</nav>')
    title = html.escape(f"Similar images in {gallery}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{''.join(parts)}</html>\n"
    )


def _figure(shown: Shown) -> str:
    lines = [f'<span class="path">{html.escape(shown.name)}</span>']
    if shown.label:
        lines.insert(0, f"<b>{html.escape(shown.label)}</b>")
    if shown.similarity is not None:
        lines.insert(0, f'<span class="similarity">{shown.similarity:.3f}</span>')
    return f"<figure>{_picture(shown)}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _picture(shown: Shown) -> str:
    source = f"data:{media_type(shown.picture)};base64,{base64.b64encode(shown.picture).decode()}"
    return f'<img src="{source}" alt="{html.escape(shown.name)}">'
