"""The data of a run as an MLflow dataset: what the UI's Dataset column shows and filters by."""

from __future__ import annotations

import json
from pathlib import PurePath

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from trainables.data import Prepared
from trainables.data.manifest import TEST
from trainables.data.words import written

#: Digits of the data fingerprint, as terminals and pages show them.
DIGEST = 12
#: What a run of a kind does with the data. A run holds a data set once, so that its uses stand in one text.
CONTEXTS = {"ensemble": "train, validation, test"}
LEARNED = "train, validation"


def dataset(data: Prepared, source: str) -> Dataset:
    """Prepared data as MLflow knows them: name, fingerprint, and how many images are on each side of the split.

    Args:
        source: where they come from: a path, or a word.
    """
    validation = data.split == 0
    profile = {
        "images": len(data.images),
        "train": int(((data.split != TEST) & ~validation).sum()),
        "validation": int(validation.sum()),
        "test": int((data.split == TEST).sum()),
        "groups": len(set(data.groups.tolist())),
    }
    name = written(PurePath(source).name or source)
    where = json.dumps({"uri": source})
    return Dataset(name[:500], data.data_fingerprint[:DIGEST], "local", where, profile=json.dumps(profile))


def dataset_input(given: Dataset, kind: str) -> DatasetInput:
    """The data as the input of a run: a search, trial, fold, boost or ensemble."""
    return DatasetInput(given, [InputTag(MLFLOW_DATASET_CONTEXT, CONTEXTS.get(kind, LEARNED))])
