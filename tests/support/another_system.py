"""A Python that lacks, for our own modules, what Windows lacks: `sitecustomize.py` for processes of a test."""

from __future__ import annotations

import os
from pathlib import Path

#: Ray, torch and filelock keep what they need of this system; calls that not even macOS has go for all.
SITECUSTOMIZE = """
import builtins, os, signal

real = builtins.__import__

def without(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "").split(".")[0]
    if name in ("fcntl", "resource", "pwd", "grp") and importer in ("orchestrator", "trainables", "search_spaces"):
        raise ImportError(f"{name} is hidden from {importer}")
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = without
for module, name in ((os, "sched_getaffinity"), (os, "sched_setaffinity"), (signal, "SIGHUP"), (signal, "SIGPIPE")):
    delattr(module, name)
"""


def environment(folder: Path) -> dict[str, str]:
    """The environment of such a process, and of those that it starts."""
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), root])}
