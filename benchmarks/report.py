"""How every benchmark prints: a Markdown table, and one line about the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "ray", "optuna", "mlflow")


def table(rows: Sequence[Mapping[str, str | float]]) -> str:
    """A Markdown table of rows with the same keys; numbers with 3 significant digits, to the right."""
    if not rows:
        return ""
    names = list(rows[0])
    numeric = [all(isinstance(row[name], (int, float)) for row in rows) for name in names]
    lines = [names, ["---:" if right else "---" for right in numeric]]
    lines += [[_cell(row[name]) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Cores, processor, memory, GPU, versions and date, in one line."""
    parts = [f"{len(os.sched_getaffinity(0))} cores", _processor(), f"{_memory_gib():.0f} GiB memory", _gpu()]
    parts += [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    return ", ".join([*parts, date.today().isoformat()])


def _cell(value: str | float) -> str:
    """Integers are counts: they are never rounded."""
    if isinstance(value, (str, int)):
        return str(value)
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if abs(rounded) >= 1000 else f"{value:#.3g}".rstrip(".")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return found[0] if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _gpu() -> str:
    """Names of the GPUs, or that there is none."""
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        names = []
    names = [name.strip() for name in names if name.strip()]
    return f"{len(names)} x {names[0]}" if names else "no GPU"
