"""Tests of the tables that commands print, on terminals of any width."""

import io

import pytest
from rich.console import Console

from crossbatch.commands.output import console_for, print_table


@pytest.mark.parametrize("width", [50, 80, 200])
def test_numbers_are_never_cut_off_and_words_go_on_in_the_next_line(width: int) -> None:
    told = Console(file=io.StringIO(), width=width)
    path, label = "a_folder_with_a_long_name/and_a_file.jpg", "a label of several words 界界界"
    print_table(told, "found", ["path", "label", "similarity", "id"], [[path, label, "0.5481", "0c9b2138458f"]])
    table = told.file.getvalue().splitlines()[1:]
    assert sum("0.5481" in line and "0c9b2138458f" in line for line in table) == 1
    assert all(Console().measure(line).maximum <= width for line in table)
    columns = [line[: line.index("similarity")] for line in table if "similarity" in line]
    signs = "".join("".join(line[: len(columns[0])].split()) for line in table)
    assert sorted(path + label.replace(" ", "")) == sorted(signs.replace("─", "").removeprefix("pathlabel"))


def test_at_80_columns_each_row_keeps_its_name_each_head_its_words_and_each_number_its_digits() -> None:
    told = Console(file=io.StringIO(), width=80)
    metrics = ["R@1", "R@2", "R@4", "R@8", "R-precision", "MAP@R"]
    rows = [["before training", *["0.6735"] * 6, "12.2"], ["p", *["0.9119"] * 6, "112.2"]]
    print_table(told, "measured", ["run", *metrics, "dimensions used"], rows)
    table = told.file.getvalue()
    assert all(word in table for word in ("run", "before", "training", *metrics, "dimensions", "used"))
    assert [table.count(number) for number in ("0.6735", "0.9119", "112.2")] == [6, 6, 1]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table


def test_where_nothing_fits_a_table_is_folded_and_loses_no_sign() -> None:
    told = Console(file=io.StringIO(), width=30)
    print_table(told, "", ["run", *"abcdef"], [["name", *["0.1234"] * 6]])
    table = "".join(told.file.getvalue().split())
    assert max(map(len, told.file.getvalue().splitlines())) <= 30
    assert sorted(table.replace("─", "")) == sorted("runabcdefname" + "0.1234" * 6)


def test_names_cannot_write_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """File names can contain control sequences: these must not clear the terminal or set its title."""
    console, name = console_for(False), "cls\x1b]0;mine\x07\x1b[2J\x9b31m.jpg"
    print_table(console, name, ["path", "label"], [[name, name]])
    console.print(f"left out: {name}")
    told = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b"} & set(told)
    assert told.count(r"cls\x1b]0;mine\x07\x1b[2J\x9b31m.jpg") >= 2
