"""A page in a real browser: Chromium without a window."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here (Debian and Ubuntu: apt-get install chromium)"
)
OPTIONS = (
    *("--headless", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    "--no-sandbox",  # which root has none of, in a container
    "--disable-dev-shm-usage",
    "--allow-file-access-from-files",  # the pages are in frames of one page
    "--host-resolver-rules=MAP * ~NOTFOUND",  # a request is seen, and reaches nothing
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",  # milliseconds; they pass as soon as nothing is left to do
)
SECONDS = 120  # of a launch; it takes about two
# What a frame tells the page around it, once all is loaded.
TOLD = """
<script>
addEventListener("load", async () => {
  const images = [...document.images];
  images.forEach(image => { image.loading = "eager"; });
  while (images.some(image => !image.complete)) await new Promise(next => setTimeout(next, 20));
  parent.postMessage({
    view: __VIEW__,
    window: innerWidth,
    content: document.documentElement.scrollWidth,
    images: images.map(image => [image.naturalWidth, image.naturalHeight]),
    measured: (() => __MEASURE__)(),
  }, "*");
});
</script>
"""
AROUND = """<!doctype html><title>Views</title><pre id="told"></pre>
<script>
const told = [];
addEventListener("message", event => {
  told.push(event.data);
  document.getElementById("told").textContent = JSON.stringify(told);
});
</script>
"""


@dataclass(frozen=True)
class View:
    """A page in a window of a width in pixels, and a JavaScript expression to tell of it."""

    page: Path
    width: int
    hash: str = ""
    measure: str = "null"


@dataclass(frozen=True)
class Seen:
    """What was seen of pages.

    Attributes:
        views: of each view the width of its `window` and `content`, the sizes of its `images`,
            and what its expression has `measured`.
        console: what the pages wrote to the console: errors, warnings and the rest.
        requests: addresses that the pages asked the network for.
    """

    views: list[dict]
    console: list[str]
    requests: list[str]


def look(folder: Path, views: Sequence[View]) -> Seen:
    """Open pages in one browser. It writes into the folder, and asks no network for anything."""
    frames = []
    for number, view in enumerate(views):
        told = TOLD.replace("__VIEW__", str(number)).replace("__MEASURE__", view.measure)
        copy = folder / f"view{number}.html"
        copy.write_text(view.page.read_text(encoding="utf-8") + told, encoding="utf-8")
        address = html.escape(f"{copy.name}{view.hash}")
        frames.append(f'<iframe src="{address}" width="{view.width}" height="900"></iframe>\n')
    around, log = folder / "views.html", folder / "network.json"
    around.write_text(AROUND + "".join(frames), encoding="utf-8")
    own = (f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}")
    command = [CHROMIUM, *OPTIONS, *own, "--dump-dom", around.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    content = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)
    assert content and content[1], f"{done.stdout[-500:]}\n{done.stderr[-2000:]}"
    told = sorted(json.loads(html.unescape(content[1])), key=lambda view: view["view"])
    assert len(told) == len(views), [view["view"] for view in told]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(told, console, _requests(json.loads(log.read_text())))


def _requests(log: dict) -> list[str]:
    """Addresses that were asked for, without those of the browser itself (such as for updates)."""
    started = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [event.get("params", {}) for event in log["events"] if event["type"] == started]
    return [a["url"] for a in asked if "url" in a and a["initiator"] != "not an origin"]
