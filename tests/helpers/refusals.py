"""What a command says of bad input: one error, exit status 2, no traceback."""

import contextlib
import io

from hrnet_det.errors import tell


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
