"""Tests of who decides how many processes there are: torchrun, SLURM, or `--loop.devices`."""

import pytest

from crossbatch.errors import SettingError
from crossbatch.training.launch import by_launcher, layout

CASES = {
    "alone": ({}, (1, 0)),
    "torchrun": ({"WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, (4, 2)),
    "started by Lightning": ({"WORLD_SIZE": "2", "LOCAL_RANK": "1"}, (1, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_processes_that_lightning_started_are_counted_by_the_option(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, counted = CASES[case]
    for name in ("WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert by_launcher() == counted
    if case == "torchrun":
        assert (layout(None)["devices"], layout(None)["num_nodes"]) == (2, 2)
        with pytest.raises(SettingError, match=r"--loop\.devices 3 contradicts the 2 processes"):
            layout(3)
    else:
        assert (layout(3)["devices"], layout(3)["strategy"]) == (3, "ddp")
        assert layout(None)["strategy"] == "auto"
