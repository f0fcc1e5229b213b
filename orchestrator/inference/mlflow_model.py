"""The product as an MLflow model: the ensemble's folder, the code that runs it, its signature and its requirements."""

from __future__ import annotations

import os

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each copy of two files

import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import cv2
import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

from orchestrator.inference.prediction import ARTIFACT, COLUMNS, IMAGE, MASK, TRIAGE, encode_png
from trainables import unfinished
from trainables.data.phantom import phantom_image

#: What runs the product, nothing that trains: the rest of `pyproject.toml` is not needed to predict. ImageHash because
#: `trainables.data` imports it; torchvision because segmentation-models-pytorch and timm do.
REQUIREMENTS = (
    "ImageHash",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pydantic",
    "safetensors",
    "scipy",
    "segmentation-models-pytorch",
    "timm",
    "torch",
    "torchvision",
)
#: The code that ships, beside each package's own `__init__.py`: what predicts, and nothing that trains.
CODE = {
    "orchestrator": ("common/__init__.py", "common/errors.py", "inference"),
    "search_spaces": ("cls.py", "multi.py", "recipes.py", "seg.py"),
    "trainables": (
        *("checkpoint_description.py", "data", "devices.py", "inference.py", "locks.py", "losses", "memory.py"),
        *("models", "plugins.py", "policies.py", "processes.py", "stored.py", "unfinished.py"),
    ),
}
#: Where the model lies among a run's artifacts.
ARTIFACT_PATH = "model"
_EXAMPLE_SIDE = 64


def save(folder: Path, ensemble: Path) -> None:
    """Save an ensemble as an MLflow model, under another name until it is complete.

    The folder serves with `mlflow models serve -m FOLDER`, and `orchestrator.predict --model FOLDER` takes it, too.
    Nothing in it is pickled: the script is stored as source, the networks as safetensors, the rest as text.

    Args:
        folder: to be made; it must not exist.
        ensemble: folder that `orchestrator.inference.export.write` wrote.

    Raises:
        OSError: the folder exists or cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already")
    with unfinished.beside(folder) as scratch:
        new = scratch / "model"
        code = _code(scratch / "code")
        mlflow.pyfunc.save_model(
            path=str(new),
            python_model=str(_source("orchestrator.inference.pyfunc")),
            artifacts={ARTIFACT: str(ensemble)},
            code_paths=[str(package) for package in code],
            signature=_signature(),
            input_example=pd.DataFrame({IMAGE: [_example()]}),
            pip_requirements=requirements(),
        )
        new.rename(folder)


def log(client: MlflowClient, run_id: str, folder: Path, name: str = ARTIFACT_PATH) -> str:
    """Put a saved model among a run's artifacts, under this name; its address for the registry, `runs:/RUN/NAME`.

    Raises:
        MlflowException, OSError: the store cannot take it.
    """
    client.log_artifacts(run_id, str(folder), name)
    return f"runs:/{run_id}/{name}"


def requirements() -> list[str]:
    """`REQUIREMENTS` pinned to the installed versions, without a build's own mark (as in 2.4+cpu)."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def _signature() -> ModelSignature:
    kinds = {name: DataType.string if name == TRIAGE else DataType.double for name in COLUMNS} | {MASK: DataType.string}
    outputs = Schema([ColSpec(kind, name, required=False) for name, kind in kinds.items()])
    # Of any type, as `binary` would refuse pixels; what it may be is checked, and said, by the model itself.
    return ModelSignature(inputs=Schema([ColSpec(AnyType(), IMAGE)]), outputs=outputs)  # type: ignore[no-untyped-call]


def _example() -> bytes:
    image, _ = phantom_image(np.random.default_rng(0), 2)
    return encode_png(cv2.resize(image, (_EXAMPLE_SIDE, _EXAMPLE_SIDE), interpolation=cv2.INTER_AREA))


def _code(folder: Path) -> list[Path]:
    """The packages of `CODE`, copied into a folder that is made."""
    for package, parts in CODE.items():
        home = _source(package).parent
        (folder / package).mkdir(parents=True)
        for part in ("__init__.py", *parts):
            if (home / part).is_dir():
                shutil.copytree(home / part, folder / package / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (folder / package / part).parent.mkdir(exist_ok=True)
                shutil.copyfile(home / part, folder / package / part)
    return [folder / package for package in CODE]


def _source(module: str) -> Path:
    """A module's file, without importing it."""
    spec = find_spec(module)
    assert spec
    assert spec.origin
    return Path(spec.origin)
