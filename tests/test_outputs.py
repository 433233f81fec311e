"""Folders that a command writes to, and that it has alone."""

import os
import signal
import subprocess
import sys

import pytest

from hrnet_det.errors import InputError
from hrnet_det.outputs import RUNNING, alone_in

HOLDS = """
import sys, time
from hrnet_det.outputs import alone_in
with alone_in(sys.argv[1]):
    print("has it", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_one_processs_until_that_ends(tmp_path):
    folder = tmp_path / "output"
    command = [sys.executable, "-c", HOLDS, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "has it\n"
        text = (folder / RUNNING).read_text()
        assert text == f"process {other.pid} on {os.uname().nodename}\n"
        with pytest.raises(InputError) as error, alone_in(folder):
            pass
        assert str(error.value) == (
            f"{folder} belongs to another run, which has not ended ({text.strip()}): wait for its "
            "end, or give another folder to write to"
        )
        assert (folder / RUNNING).read_text() == text
        other.send_signal(signal.SIGKILL)
    with alone_in(folder):
        assert (folder / RUNNING).read_text().startswith(f"process {os.getpid()} on ")
    assert not (folder / RUNNING).exists()
