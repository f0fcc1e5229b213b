"""Does drawing hard images oftener help? `boosted-trained` beside its control, from the same candidates.

The control has the same starts, epochs and number of members, and draws all images alike. Run it on the folder of a
finished ensemble, whose fold models and predictions it uses:

    python -m benchmarks.boosting --task cls --name busi-cls --storage runs --tracking-uri sqlite:///mlflow.db
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import machine, table
from orchestrator.cluster.session import ray_session
from orchestrator.config import loading
from orchestrator.config.cli import make_settings
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.ensemble import plan
from orchestrator.ensemble.boosting_rounds import Boosting, boost
from orchestrator.ensemble.candidates import search_settings
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.fold_race import race
from orchestrator.ensemble.member_predictions import held_out
from orchestrator.ensemble.members import MemberTrainer
from orchestrator.ensemble.tasks import TaskPool
from orchestrator.storage.storage import Storage
from orchestrator.tracking.tracker import Tracker
from trainables.tasks import make_task


def main(argv: Sequence[str] | None = None) -> None:
    """Train one round for each seed, weighted and not, and print what each does to the loss and the metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="cls")
    parser.add_argument("--name", required=True)
    parser.add_argument("--storage", type=Path, default=Path("runs"))
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    parser.add_argument("--top-k", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    given = vars(parser.parse_args(argv))
    epochs, seeds = given.pop("epochs"), given.pop("seeds")
    settings = make_settings(EnsembleSettings, given)
    search = search_settings(settings.home, settings.name)
    data, _ = loading.read(search, quiet=True)
    task = make_task(search.task, search.classes)
    rows = []
    with ray_session(), tempfile.TemporaryDirectory() as scratch:
        workers = TaskPool(plan.share(search), search.files.predictions, Storage(settings.home))
        team = MemberTrainer(task, search, data, workers, settings.tta, True)
        candidates, _ = plan.candidates(settings, search, data, team, settings.top_k or 2)
        folds = plan.compared_folds(task, data, search, every=True)
        scale = plan.scale(task, data, len(folds), workers.slots)
        tracker = Tracker(f"sqlite:///{scratch}/mlflow.db", "boosting")
        tracker.start_search("boosting", {}, {"task": search.task})
        candidates, members = race(team, candidates, folds, scale, tracker, drop=False, seed=0)
        held = held_out(task, members, len(members), workers, tta=settings.tta)
        falls: dict[bool, list[float]] = {False: [], True: []}
        for seed in range(seeds):
            for uniform in (False, True):
                rule = Boosting(1, epochs, seed, Path(scratch) / "boost", 0.0, uniform)
                _, _, (report,) = boost(team, members, candidates, Fits(held, seed), rule, tracker)
                falls[uniform].append(report.loss_falls_by or 0.0)
                rows.append(
                    {
                        "seed": seed,
                        "images drawn": "alike (control)" if uniform else "by error",
                        "loss falls by": f"{report.loss_falls_by:+.4f} ±{report.standard_error:.4f}",
                        "accepted": "yes" if report.accepted else "no",
                        f"{task.primary} before": f"{report.score_before:.4f}",
                        f"{task.primary} with it": f"{report.score_with:.4f}",
                    }
                )
        tracker.end_search("FINISHED", {}, {})
        tracker.close()
    print(machine())
    print(table(rows))
    gain = np.subtract(falls[False], falls[True])
    print(f"by error minus control: {gain.mean():+.4f} a seed, standard deviation {gain.std(ddof=1):.4f} over {seeds}")


if __name__ == "__main__":
    main()
