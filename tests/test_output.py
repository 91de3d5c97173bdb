"""Tables that commands print, on terminals of any width."""

import io

import pytest
from rich.console import Console

from crossbatch.commands.output import print_table


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
