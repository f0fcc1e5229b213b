"""The MLflow UI as leaderboard: a shared view of an experiment, its trials best first with the columns that matter.

The UI keeps a shared view as JSON in a tag of the experiment; a version that does not know it shows its usual table.
"""

from __future__ import annotations

import json

#: Architecture and encoder stand in a run's name.
_PARAMS = ("loss", "lr", "optimizer")
#: The dataset as a tag, since MLflow's own column stands before all metrics, as do those of times.
_TAGS = ("stopped", "search", "data_source")


def tag(primary: str) -> tuple[str, str]:
    """Key and value of the experiment tag that holds the view for a primary metric."""
    columns = [
        f"metrics.`best/{primary}`",
        "metrics.`epoch`",
        *(f"params.`{name}`" for name in _PARAMS),
        *(f"tags.`{name}`" for name in _TAGS),
    ]
    view = {
        "orderByKey": f"metrics.`best/{primary}`",
        "orderByAsc": False,
        "searchFilter": "tags.kind = 'trial'",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsExpanded": {},
        "viewMaximized": False,
        "runListHidden": False,
    }
    return f"mlflow.sharedViewState.{_key(primary)}", json.dumps(view)


def address(server: str, experiment_id: str, primary: str) -> str:
    """Where the view is, on an MLflow server."""
    where = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={_key(primary)}"
    return f"{server.rstrip('/')}/{where}"


def _key(primary: str) -> str:
    return f"leaderboard-{primary}"
