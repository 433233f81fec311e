"""Each test's console and log are its own."""

import pytest
from helpers.tiny import forget_loggers

from hrnet_det.engine import train


@pytest.fixture(autouse=True)
def fresh_loggers():
    forget_loggers()
    yield
    forget_loggers()


@pytest.fixture
def without_page(monkeypatch):
    """Trainings write no report.html, a quarter of their time: for tests of something else.

    tests/docs/test_real_runs.py has a page of each kind of detector written.
    """
    monkeypatch.setattr(train, "write_page", lambda *_, **__: None)
