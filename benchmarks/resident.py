"""Peak memory of one call: how far resident memory grows above its size before the call."""

from collections.abc import Callable
from pathlib import Path


def peak_mb(call: Callable[[], object]) -> float:
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """A size from /proc/self/status, in KiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])
