"""The models that are predicted with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.products import small_product

POINT = {"kept": "specificity", "rate": 0.9, "threshold": 0.2}


@pytest.fixture(scope="module")
def multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_product(tmp_path_factory.mktemp("multi"), "multi", networks=1, operating_points=[POINT])


@pytest.fixture(scope="module")
def seg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_product(tmp_path_factory.mktemp("seg"), "seg", networks=1, synthetic=True)
