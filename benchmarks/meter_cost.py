"""Measure what share of the processor time of training the drift meters take: `python -m benchmarks.meter_cost`.

It trains on glyphs with the default network and settings, once with a memory as large as the training part and once
with a memory of 60,000 rows, which so few steps do not fill. The time of the meters is all that their callback does.
It is divided by the time from the start to the end of training, which includes filling the memory and one validation.
Processor time depends little on other work on the machine.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from crossbatch.data.data_set import DataSet
from crossbatch.training.comparison import train_once
from crossbatch.training.drift_meters import DriftMeters
from crossbatch.training.run_parts import load_data
from crossbatch.training.settings import LoopSettings, MemorySettings, OptimSettings, Settings

STEPS = 1000
PARTS = ("on_train_batch_start", "_look")  # the callback's work before a step and at a call of the loss
ENDS = ("on_train_start", "on_train_end")


def main() -> None:
    data = load_data(Settings())
    for size in (len(data.train), 60_000):
        share = measure(replace(Settings(), memory=MemorySettings(size=size)), data)
        print(f"memory of {size:,} rows: the meters take {share:.1%} of the time of {STEPS} steps")


def measure(settings: Settings, data: DataSet) -> float:
    """Train, and return the share of processor time that the meters take."""
    spent, ends = [0.0], list[float]()
    plain = {part: getattr(DriftMeters, part) for part in (*PARTS, *ENDS)}
    settings = replace(settings, optim=OptimSettings(steps=STEPS), loop=LoopSettings(check_every=STEPS))
    try:
        for part in PARTS:
            setattr(DriftMeters, part, _timed(plain[part], spent))
        for part in ENDS:
            setattr(DriftMeters, part, _noted(plain[part], ends))
        with TemporaryDirectory() as folder:
            train_once(settings, data, Path(folder, "run"), Console(quiet=True))
        return spent[0] / (ends[1] - ends[0])
    finally:
        for part, method in plain.items():
            setattr(DriftMeters, part, method)


def _timed(method: Callable[..., None], spent: list[float]) -> Callable[..., None]:
    @wraps(method)
    def timed(*arguments: Any, **named: Any) -> None:
        began = time.process_time()
        method(*arguments, **named)
        spent[0] += time.process_time() - began

    return timed


def _noted(method: Callable[..., None], times: list[float]) -> Callable[..., None]:
    @wraps(method)
    def noted(*arguments: Any, **named: Any) -> None:
        times.append(time.process_time())
        method(*arguments, **named)

    return noted


if __name__ == "__main__":
    main()
