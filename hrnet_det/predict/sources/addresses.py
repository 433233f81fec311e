"""Images behind http:// and https:// addresses, fetched into memory."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request

from hrnet_det import __version__
from hrnet_det.checkpoint.addresses import ELSEWHERE, TIMEOUT
from hrnet_det.errors import InputError

SECONDS = 60  # that one address has at most; TIMEOUT is for each answer of its server
MOST_BYTES = 2**28  # of one image: 256 MiB
_PART = 2**16  # bytes that are read at once
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


def is_address(word: str) -> bool:
    return _ADDRESS.match(word) is not None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows up to ten, to http and https alone."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not is_address(newurl):
            raise InputError(f"is redirected to {newurl}, which is not http:// or https://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(address: str, *, seconds: float = SECONDS, most: int = MOST_BYTES) -> bytes:
    """What an address has; HTTPS_PROXY and the like are followed.

    Raises: InputError without the address in front, such as "cannot be fetched (HTTP 404 Not
        Found). ...".
    """
    end = time.monotonic() + seconds
    quoted = urllib.parse.quote(address, safe="%/:=&?~#+!$,;'@()*[]")
    request = urllib.request.Request(quoted, headers={"User-Agent": f"hrnet_det/{__version__}"})
    opener = urllib.request.build_opener(_Redirects)
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            return _content(answer, end, seconds, most)
    except InputError:
        raise
    except urllib.error.HTTPError as error:
        reason = f"HTTP {error.code} {error.reason}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        found = getattr(error, "reason", None) or error
        reason = getattr(found, "strerror", None) or " ".join(str(found).split())
    raise InputError(f"cannot be fetched ({reason or 'the connection has ended'}). {ELSEWHERE}")


def _content(answer: http.client.HTTPResponse, end: float, seconds: float, most: int) -> bytes:
    parts, size = [], 0
    while part := answer.read1(_PART):
        parts.append(part)
        size += len(part)
        if size > most:
            raise InputError(
                f"has more than {most / 2**20:g} MiB: fetch it yourself and name its path"
            )
        if time.monotonic() > end:
            raise InputError(
                f"cannot be fetched within {seconds:g} s ({size} bytes have come). {ELSEWHERE}"
            )
    expected = answer.headers.get("Content-Length", "")
    if expected.isdecimal() and size < int(expected):
        raise InputError(f"cannot be fetched (only {size} of {expected} bytes came). {ELSEWHERE}")
    return b"".join(parts)


def name_in(address: str) -> str:
    """A name for a file: the last part of an address's path, "image" where it has none."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
    last = re.sub(r"[^\w.() -]", "_", path.rstrip("/").rsplit("/", 1)[-1]).strip(". ")
    return last[:100] or "image"
