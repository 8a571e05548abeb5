"""Pools: named sets of volumes with a retention, and who writes to which."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeloom.config import Pool, load
from tapeloom.errors import ConfigError

BASE = """
[drives]
R1 = "vtape:tapes/R1"
R2 = "vtape:tapes/R2"
R3 = "vtape:tapes/R3"
[sources]
D1 = "data/D1"
[backup.n.A]
drive = "R1"
buffers = { B1 = "D1" }
"""


def written(folder: Path, more: str) -> Path:
    file = folder / "tapeloom.toml"
    file.write_text(BASE + more)
    return file


def test_an_agents_pool_goes_before_its_groups(tmp_path: Path) -> None:
    config = load(
        written(
            tmp_path,
            'pool = "daily"\n[backup.m]\npool = "weekly"\n[backup.m.B]\ndrive = "R2"\nbuffers = { B1 = "D1" }\n'
            '[mirror.1.M]\ndrive = "R3"\nbuffers = { B1 = "A.B1" }\n'
            '[pools]\ndaily = "30d"\nweekly = {}\nvault = { retention = "2h" }',
        )
    )
    assert {name: agent.pool for name, agent in config.agents.items()} == {"A": "daily", "B": "weekly", "M": "default"}
    assert list(config.pools.values()) == [Pool("daily", 30 * 86400.0), Pool("weekly"), Pool("vault", 7200.0)]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('pool = "dayly"\n[pools]\ndaily = "30d"', 'there is no pool "dayly" in [pools] (did you mean "daily"?)'),
        ('[backup.n]\npool = "vault"', 'there is no pool "vault" in [pools]'),
        ('[pools]\ndaily = "30"', '"30" is not a duration: it has no unit'),
        ('[pools]\ndaily = "0s"', "nothing would be kept"),
        ('[pools]\n"a.b" = "1d"', '"a.b" is not a name for a pool: it has a dot'),
        ('[pools.daily]\nretain = "1d"', "retain"),
    ],
)
def test_mistakes_in_one_sentence(tmp_path: Path, more: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, more))
    assert says in str(caught.value.problems[0])
