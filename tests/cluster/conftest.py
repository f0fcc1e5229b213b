"""Three hosts on this machine with a Ray cluster on them: set up once, as that takes a minute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.hosts_cluster import Cluster


@pytest.fixture(scope="module")
def three_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A laptop, a head and two workers after `ray up`; they end with the module."""
    from tests.support.hosts_network import why_not

    if reason := why_not():
        pytest.skip(f"no hosts can be made on this machine: {reason}")
    for package in ("boto3", "moto"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra: dev)")
    from tests.support.hosts_cluster import cluster

    with cluster(tmp_path_factory.mktemp("hosts")) as made:
        yield made
