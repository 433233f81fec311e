"""Images behind addresses, fetched from a server in this process."""

import contextlib
import http.server
import threading
import time

import pytest

from hrnet_det.errors import InputError
from hrnet_det.predict.sources.addresses import fetch

CONTENT = bytes(range(256)) * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/moved"):
            where = {"/moved": "/a%20b.png", "/moved-away": "ftp://127.0.0.1/a.png"}
            where["/moved-inside"] = "file:///etc/hostname"
            self.send_response(302)
            self.send_header("Location", where.get(self.path, self.path))
            self.end_headers()
            return
        self.send_response(200 if self.path != "/gone" else 404)
        size = len(CONTENT) + (5 if self.path == "/short" else 0)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for start in range(0, len(CONTENT), 2000):
            if self.path == "/slow":
                time.sleep(0.02)
            with contextlib.suppress(ConnectionError):  # who has had enough
                self.wfile.write(CONTENT[start : start + 2000])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/a%20b.png", "/a b.png?x=ü", "/moved"])
def test_what_is_there_comes_whole(server, path):
    assert fetch(server + path) == CONTENT


def test_what_cannot_be_fetched_says_why(server):
    elsewhere = ". Without a connection: fetch the file elsewhere and name its path"
    for path, said in (
        ("/gone", f"cannot be fetched (HTTP 404 Not Found){elsewhere}"),
        ("/short", f"cannot be fetched (only 256000 of 256005 bytes came){elsewhere}"),
        (
            "/moved-away",
            "is redirected to ftp://127.0.0.1/a.png, which is not http:// or https://",
        ),
        (
            "/moved-inside",
            "cannot be fetched (HTTP 302 Found - Redirection to url 'file:///etc/hostname' is not "
            f"allowed){elsewhere}",
        ),
    ):
        with pytest.raises(InputError) as error:
            fetch(server + path)
        assert str(error.value) == said
    with pytest.raises(InputError, match=r"^cannot be fetched \(HTTP 302 .*infinite loop"):
        fetch(server + "/moved-again")
    with pytest.raises(InputError, match=r"^cannot be fetched \(.*[Cc]onnection refused"):
        fetch("http://127.0.0.1:1/a.png")
    with pytest.raises(InputError, match=r"^cannot be fetched \("):
        fetch("http://127.0.0.1:port/a.png")


def test_limits(server):
    with pytest.raises(InputError) as error:
        fetch(server + "/a.png", most=2**17)
    assert str(error.value) == "has more than 0.125 MiB: fetch it yourself and name its path"
    assert fetch(server + "/a.png", most=len(CONTENT)) == CONTENT
    with pytest.raises(InputError, match=r"^cannot be fetched within 0\.1 s \(\d+ bytes have come"):
        fetch(server + "/slow", seconds=0.1)
