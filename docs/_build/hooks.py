"""Pages for the repository's own files: links such as ../configs/NAME.yaml work on the site too."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

# A link or an image out of docs/, whose pages all lie at one level.
LINK = re.compile(r"\]\(\.\./([^)#\s]+)")
IMAGES = (".png", ".svg")
LANGUAGES = {".csv": "text", ".py": "python", ".toml": "toml", ".yaml": "yaml", "": "text"}


def _place(path: str) -> str:
    """Where a file of the repository stands on the site: under a name without a leading dot."""
    path = f"repository/{path.lstrip('.')}"
    return path if path.endswith(IMAGES) else f"{path}.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each file that a page links to; one that is missing stays a broken link."""
    root = Path(config.config_file_path).parent
    linked = {
        path
        for page in files.documentation_pages()
        for path in LINK.findall(page.content_string)
        if (root / path).is_file()
    }
    for path in sorted(linked):
        source = root / path
        if source.suffix in IMAGES:
            file = File.generated(config, _place(path), abs_src_path=str(source))
        else:
            file = File.generated(
                config, _place(path), content=_page(path, source), inclusion=InclusionLevel.NOT_IN_NAV
            )
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository point to their pages."""
    if page.file.src_uri.startswith("repository/"):
        return markdown
    return LINK.sub(lambda found: f"]({_place(found[1])}", markdown)


def _page(path: str, source: Path) -> str:
    """A file as a page: Markdown as it is, all else as code."""
    text, head = source.read_text(), "---\nsearch:\n  exclude: true\n---\n"
    if source.suffix == ".md":
        up = posixpath.relpath("docs", posixpath.dirname(path)) + "/"
        depth = "../" * _place(path).count("/")
        text = text.replace(f"]({up}", f"]({depth}").replace("](../README.md", f"]({depth}index.md")
        return head + text
    return f"{head}# {path}\n\n````{LANGUAGES.get(source.suffix, 'text')}\n{text}````\n"
