"""Wait for a state of the page. Playwright's own wait for an expression needs eval, which the page forbids."""

import time
from typing import Any

PATIENCE_S = 15


def until(page: Any, expression: str, *arguments: Any) -> None:
    """Wait until a JavaScript expression, or a function called with the arguments, is true."""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression, *arguments):
        assert time.monotonic() < end, f"timed out waiting for {expression}"
        page.wait_for_timeout(50)
