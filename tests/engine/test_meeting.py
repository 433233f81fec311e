"""Processes that do not find each other."""

import contextlib
import socket
import time

import pytest
from helpers.forked import free_port

from hrnet_det.engine import meeting
from hrnet_det.engine.processes import Processes
from hrnet_det.errors import InputError


def test_a_port_that_is_taken():
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("", 0))
        taken.listen()
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError) as error:
            meeting.meet(Processes(2, url=url, rank=0))
    assert str(error.value).startswith(f"rank 0 cannot listen at {url}: the port is taken, perhaps")


@pytest.mark.parametrize("kind", ["tcp", "file"])
def test_processes_that_do_not_come(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(meeting, "SEVERAL", 1)
    url = f"tcp://127.0.0.1:{free_port()}" if kind == "tcp" else f"file://{tmp_path}/meeting"
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        meeting.meet(Processes(1, 2, 1, url, rank=1))
    assert f"rank 1 has not met all 2 processes at {url} within 1 s (" in str(error.value)
    assert "Is rank 0 on another host" in str(error.value) and "\n" not in str(error.value)
    assert time.monotonic() - start < 20
