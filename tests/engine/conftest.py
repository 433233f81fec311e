"""Each test's console and log are its own."""

import pytest
from helpers.tiny import forget_loggers


@pytest.fixture(autouse=True)
def fresh_loggers():
    forget_loggers()
    yield
    forget_loggers()
