"""Processes of their own, with or without Detectron2, as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

NO_DETECTRON2 = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "detectron2":
            raise ModuleNotFoundError("No module named 'detectron2'", name="detectron2")
sys.meta_path.insert(0, Blocker())
"""


def run(*command, path=(), cwd, python=sys.executable):
    """Run Python on `command`, with only `path` on PYTHONPATH."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    words = [str(word) for word in (python, *command)]
    return subprocess.run(words, cwd=cwd, env=env, check=False, capture_output=True, text=True)


def console_script(folder: Path) -> Path:
    """A file in a folder like the one that pip writes for `[project.scripts]`."""
    script = folder / "bin" / "hrnet-det"
    script.parent.mkdir()
    script.write_text("import sys\nfrom hrnet_det.cli import main\nsys.exit(main())\n")
    return script


def without_detectron2(folder: Path) -> Path:
    """A folder in a folder that, on PYTHONPATH, makes `import detectron2` fail."""
    blocked = folder / "without"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(NO_DETECTRON2)
    return blocked
