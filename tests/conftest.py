"""What tests share."""

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import config


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def as_users_run_it() -> Iterator[None]:
    """Shapes unchecked, as outside of tests: what does not fit must then meet an error of ours."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
