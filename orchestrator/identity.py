"""What makes a search this one: what a resumed one must agree with, and the tags of its runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from orchestrator.settings import SearchSettings
from orchestrator.spaces import Plan
from trainables.data import Prepared


def identity_of(settings: SearchSettings, data: Prepared, plan: Plan) -> dict[str, Any]:
    """What makes this search this one, beside its settings."""
    return {
        "task": settings.task,
        "classes": settings.classes,
        "data_fingerprint": data.data_fingerprint,
        "prepared_fingerprint": data.prepared_fingerprint,
        **plan.identity(),
    }


def tags_of(settings: SearchSettings, data: Prepared, synthetic: bool, primary: str) -> dict[str, str]:
    """Tags that the search and each of its trials carry."""
    return {
        "task": settings.task,
        "classes": str(settings.classes),
        "primary": primary,
        "data_fingerprint": data.data_fingerprint,
        "prepared_fingerprint": data.prepared_fingerprint,
        "data_source": settings.source,
        "synthetic": str(synthetic).lower(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str:
    """The commit of this project's own checkout; empty where there is none, or no git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
