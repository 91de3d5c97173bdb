"""Tables that commands print, on terminals of any width."""

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


def test_names_cannot_write_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor clear it, nor name its window: a folder may be called anything."""
    console, name = console_for(False), "cls\x1b]0;mine\x07\x1b[2J\x9b31m.jpg"
    print_table(console, name, ["path", "label"], [[name, name]])
    console.print(f"left out: {name}")
    told = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b"} & set(told)
    assert told.count(r"cls\x1b]0;mine\x07\x1b[2J\x9b31m.jpg") >= 2
