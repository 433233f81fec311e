"""What is said of bad input; by a command: one error, exit status 2, no traceback."""

import contextlib
import io

import pytest

from hrnet_det.errors import InputError, tell


def refusal(work, *words):
    """The message with which work(*words) is refused, as a command would print it."""
    try:
        work(*words)
    except Exception as error:
        with contextlib.redirect_stderr(io.StringIO()) as told:
            status = tell(error)
        said = told.getvalue()
        assert status == 2, said
        return message(said)
    raise AssertionError(f"taken in silence: {words}")


def message(stderr):
    """The one error on standard error."""
    assert stderr.startswith("error: ") and stderr.count("error: ") == 1, stderr
    assert "Traceback" not in stderr and stderr.endswith("\n"), stderr
    assert len(stderr) < 10_000
    return stderr.removeprefix("error: ").rstrip("\n")


def error_of(call, kind=InputError):
    """The message of the error that a call raises."""
    with pytest.raises(kind) as error:
        call()
    return str(error.value)
