"""The project's docstrings on the site: "Input:", "Raises: ..." and the like as bold paragraphs."""

from __future__ import annotations

import re
from typing import Any

import griffe

# With text behind the colon a line is no section of Google's style, which `Args:` alone is.
LABELS = r"Source|Input|Output|Raises|Returns|Yields|Layout|Differs from [^:\n]+"
LABEL = re.compile(rf"(^|\. )[ ]*({LABELS}):[ ]+(?=\S)", re.MULTILINE)


class Labels(griffe.Extension):
    """Set each label apart as a paragraph that begins with it in bold."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = LABEL.sub(_bold, obj.docstring.value)


def _bold(found: re.Match) -> str:
    before = found[1].rstrip()
    return f"{before}\n\n**{found[2]}:** "
