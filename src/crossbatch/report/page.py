"""`report.html`: one self-contained page on the folder of a run, a comparison, or a search for settings."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from crossbatch import durable, runs
from crossbatch.data import called
from crossbatch.errors import MissingExtraError, RunError
from crossbatch.report import headline, results
from crossbatch.report.curves import Arm, Chart, charts, read_arm, too_short
from crossbatch.report.gallery import Gallery, gallery, picture_uri, suspicious
from crossbatch.report.of_search import fields_of
from crossbatch.report.plots import Colour, Stroke
from crossbatch.report.results import LONGER, WITH, WITHOUT
from crossbatch.report.verdict import verdict_of
from crossbatch.typed import typed

DRAWN: dict[str, tuple[Colour, Stroke]] = {
    WITHOUT: ("without", "solid"),
    LONGER: ("without", "dashed"),
    WITH: ("with", "solid"),
}


class Page(NamedTuple):
    """Everything that the template shows; a field that is None or empty is left out."""

    title: str
    sentence: str
    subtitle: str
    tiles: list[results.Tile]
    table: results.Table | None
    table_note: str
    settings: list[tuple[str, str]]
    charts: Sequence[Chart] = ()
    search: results.Table | None = None
    gallery: Gallery | None = None
    how_to_get_examples: str = ""
    notes: Sequence[str] = ()
    commands: Sequence[tuple[str, str]] = ()  # commands to go on with: what each does, and its text
    suspects: Gallery | None = None
    warnings: Sequence[str] = ()
    charts_note: str = ""  # in place of charts
    augmented: str = ""  # picture of augmented training images, as a data URI
    augmented_note: str = ""
    search_command: str = ""  # command that serves a search page of the run


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the page of a run, comparison or search, by default to `report.html` in its folder; returns the path."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder: name the folder of a run, a comparison or a search")
    if (folder / runs.COMPARISON).is_file():
        page = _of_comparison(folder)
    elif (folder / runs.SUMMARY).is_file():
        page = _of_run(folder)
    elif (folder / runs.TUNING).is_file():
        page = Page(**fields_of(folder))
    else:
        raise RunError(
            f"{folder} holds no finished run ({runs.SUMMARY}), comparison ({runs.COMPARISON}) or search "
            f"({runs.TUNING}): let it finish, or name another folder"
        )
    path = out or folder / runs.REPORT
    if path.is_dir():
        raise RunError(f"{path} is a folder: name a file with --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_text(path, _render(page))
    return path


def _of_comparison(folder: Path) -> Page:
    comparison = results.read_comparison(folder)
    roles = results.roles_of(comparison["arms"])
    arms = [_arm(folder, arm, roles[arm["name"]]) for arm in comparison["arms"]]
    names = {role: name for name, role in roles.items()}
    colours = {name: " ".join(DRAWN[role]) for name, role in roles.items()}
    seeds = int(comparison.get("seeds") or 1)
    spread = f"Mean ± standard deviation over {seeds} seeds" if seeds > 1 else "One seed, so no deviation (–)"
    first, remembering = _first_run(arms), _first_run([arm for arm in arms if arm.colour == WITH])
    summary = runs.read_summary(first) if first else {}
    begun = runs.read_summary(remembering) if remembering else {}
    summary |= {name: begun[name] for name in ("memory_start", "memory_start_reason") if name in begun}
    verdict = verdict_of(folder)
    config = _config(first or folder)
    data, name = str(comparison.get("data", "unknown data")), _name(comparison, config)
    examples = [arm.folders[0] for arm in arms if arm.stroke == "solid" and arm.folders]
    cards, drawn = gallery([arm for arm in arms if arm.stroke == "solid"]), charts(arms)
    return Page(
        title=f"{name}: training with a memory, and without",
        sentence=verdict.sentence,
        subtitle=headline.counted(comparison),
        tiles=results.comparison_tiles(comparison, names, verdict.apart),
        table=results.comparison_table(comparison, colours),
        table_note=f"Metrics in %, on the test classes, which training never saw. {spread}.",
        charts=drawn,
        charts_note="" if drawn else too_short(arms),
        search=results.search_table(comparison, colours),
        gallery=cards,
        how_to_get_examples="" if cards else "; ".join(_command("evaluate", run, config) for run in examples),
        settings=_settings({**summary, **comparison}, config, name),
        notes=_notes(data),
        warnings=[f"{run}: {text}" for run, texts in (comparison.get("warnings") or {}).items() for text in texts],
        augmented=picture_uri(first / runs.AUGMENTED) if first else "",
        augmented_note=_augmentation(first, folder) if first else "",
        search_command=_command("serve", verdict.run, config) if verdict.run else "",
    )


def _of_run(folder: Path) -> Page:
    summary = runs.read_summary(folder)
    role = WITH if summary.get("memory_rows") else WITHOUT
    name = f"{role} memory"
    arm = read_arm(name, *DRAWN[role], [folder])
    config = _config(folder)
    data, data_name = str(summary.get("data", "unknown data")), _name(summary, config)
    cards, drawn = gallery([arm]), charts([arm])
    return Page(
        title=f"{data_name}: a run {name}",
        sentence=headline.run_sentence(folder, summary),
        subtitle=f"{headline.trained(summary)} · {summary.get('loss', '')} loss · {folder.resolve().name}",
        tiles=[],
        table=results.evaluation_table(folder, summary),
        table_note="Metrics in %. Look: how often this part had been measured by then; settings that are chosen by it "
        "make the number optimistic.",
        charts=drawn,
        charts_note="" if drawn else too_short([arm]),
        search=None,
        gallery=cards,
        how_to_get_examples="" if cards else _command("evaluate", folder, config),
        settings=[*results.floor_terms(summary), *_settings(summary, config, data_name)],
        notes=_notes(data),
        suspects=suspicious(arm),
        warnings=summary.get("warnings") or [],
        augmented=picture_uri(folder / runs.AUGMENTED),
        augmented_note=_augmentation(folder, folder),
        search_command=_command("serve", folder, config),
    )


def _arm(folder: Path, arm: dict[str, Any], role: str) -> Arm:
    return read_arm(arm["name"], *DRAWN[role], results.folders_of(folder, arm))


def _first_run(arms: list[Arm]) -> Path | None:
    return next((path for arm in arms for path in arm.folders if (path / runs.SUMMARY).is_file()), None)


def _config(folder: Path) -> dict[str, Any]:
    return runs.read_config(folder) if (folder / runs.CONFIG).is_file() else {}


def _name(result: dict[str, Any], config: dict[str, Any]) -> str:
    """The name for people of the data set of a run or a comparison."""
    return called(str(result.get("data", "unknown data")), config.get("root"))


def _command(name: str, run: Path, config: dict[str, Any]) -> str:
    """The text of a command on a run, with its --data if the data set is read by a function of the user's own."""
    data = config.get("data") or ""
    return f"crossbatch {name} {typed(run)}" + (f" --data {typed(data)}" if "." in data else "")


def _augmentation(run: Path, decided: Path) -> str:
    """The augmentation policy of a run, and the reason for it, which the folder `decided` holds if it was chosen."""
    policy = (_config(run).get("augment") or {}).get("policy")
    reason = runs.read_decided(decided).get("augment.policy") if policy else None
    return f"Augmentation {policy}" + (f", chosen because {reason}." if reason else ".") if policy else ""


def _settings(result: dict[str, Any], config: dict[str, Any], name: str) -> list[tuple[str, str]]:
    """Settings as terms and values; unknown ones are left out."""
    test, batch, memory = result.get("test") or {}, config.get("batch") or {}, config.get("memory") or {}
    model, optim = config.get("model") or {}, config.get("optim") or {}
    rows = max([result.get("memory_rows") or 0, *(arm.get("memory_rows") or 0 for arm in result.get("arms", []))])
    terms: dict[str, tuple[str, Sequence[Any]]] = {
        "data set": ("{}", [name if "data" in result else None]),
        "fingerprint of the data": ("{}", [result.get("fingerprint")]),
        "test": ("{:,} queries of {:,} classes", [test.get("queries"), test.get("classes")]),
        "loss": ("{}", [result.get("loss")]),
        "batch": ("{} classes × {} images", [batch.get("classes"), batch.get("images")]),
        "memory": ("{:,} rows", [rows or None]),
        "memory counts from": ("{}", [_memory_start(result, memory) if rows else None]),
        "network": ("{}, embeddings of length {}", [model.get("backbone"), model.get("dim")]),
        "optimizer": ("Adam, {} schedule", [optim.get("schedule")]),
        "seeds": ("{}", [result.get("seeds")]),
        "seed": ("{}", [None if "seeds" in result else result.get("seed")]),
        "learning rate": ("{:g}", [None if "arms" in result else result.get("lr")]),
        "machine": ("{}", [result.get("machine")]),
        "torch": ("{}", [(result.get("versions") or {}).get("torch")]),
    }
    return [(term, text.format(*values)) for term, (text, values) in terms.items() if None not in values]


def _memory_start(summary: dict[str, Any], memory: dict[str, Any]) -> str | None:
    """The step from which the memory counted, and the reason for that step if known."""
    start = summary.get("memory_start", memory.get("start"))
    if start is None:
        return None
    reason = summary.get("memory_start_reason")
    return f"step {start:,}" + (f", when {reason}" if reason else "")


def _notes(data: str) -> list[str]:
    return ["The glyphs are rendered characters, not photographs."] if data.startswith("glyphs") else []


def _render(page: Page) -> str:
    try:
        from jinja2 import Environment, StrictUndefined  # noqa: PLC0415
        from markupsafe import Markup  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError("the report", "jinja2", "train") from None

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["our_svg"] = Markup
    template = resources.files("crossbatch.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(page._asdict())
