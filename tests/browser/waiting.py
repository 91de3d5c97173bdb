"""Waiting for the page; Playwright's own way to wait for an expression needs eval, which the page forbids."""

import time
from typing import Any

PATIENCE_S = 15


def until(page: Any, expression: str, *arguments: Any) -> None:
    """Wait until a JavaScript expression, or a function of what follows, says yes."""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression, *arguments):
        assert time.monotonic() < end, f"never: {expression}"
        page.wait_for_timeout(50)
