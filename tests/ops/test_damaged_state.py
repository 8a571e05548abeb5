"""What no copy gives, and digests that do not fit: what is restored all the same, and what is said."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest
from chain_world import Chains, content, read
from ops_world import World, flip, place_in_file

from tapeloom.errors import RestoreError
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import cat, restore, restore_as_asked
from tapeloom.runtime.sequence import ObjectBytes

FILES = {f"{n:02}": content(40_000, n) for n in range(30)}


@pytest.fixture
def made(world: World) -> Chains:
    world.chain(sources=["D1"], given={"D1": '{ producer = true, digest = "sha256" }'})
    made = Chains(world)
    made.add(FILES)
    made.add({**FILES, "12": b"newer"})
    return made


def damage(made: Chains, n: int, seq: int) -> None:
    """One block of an object, on all copies."""
    for copy in made.items[n].copies:
        run = next(run for run in made.world.runs(made.items[n], copy.agent) if run.seq <= seq < run.seq + run.blocks)
        (tape,) = made.world.tapes(copy.drive)
        flip(tape, place_in_file(tape, run.position + seq - run.seq)[0] + 5_000)


def test_partial_goes_on_behind_what_no_copy_gives(made: Chains) -> None:
    for seq in (10, 11, 50):
        damage(made, 0, seq)
    with pytest.raises(RestoreError, match="block 10 is on none of the copies"):
        restore(made.world.config, "D1", made.world.folder / "broken off")
    result = restore_as_asked(made.world.config, Request("D1", partial=True), made.world.folder / "out")
    assert result.exit_status == 1
    assert result.lost is not None
    assert result.lost.count("on none of the copies") == 2, "block 11 holds what is lost with block 10"
    found = read(made.world.folder / "out")
    assert {path: what for path, what in found.items() if path not in result.missing} == {
        path: what for path, what in made.trees[1].items() if path not in result.missing
    }
    assert 2 <= len(set(result.missing)) <= 5
    assert set(found).isdisjoint(result.missing)


def test_damage_where_nothing_is_wanted_is_not_met(made: Chains) -> None:
    damage(made, 0, 10)
    result = restore_as_asked(made.world.config, Request("D1", ("20",)), made.world.folder / "out")
    assert (result.exit_status, result.faults) == (0, [])
    assert read(made.world.folder / "out") == {"20": FILES["20"]}


def test_without_an_index_what_was_before_is_whole(made: Chains) -> None:
    damage(made, 0, 10)
    for n in range(2):
        made.index(n).unlink()
    with pytest.raises(RestoreError, match="what was restored before is whole"):
        restore(made.world.config, str(made.items[0].id), made.world.folder / "out", partial=True)
    found = read(made.world.folder / "out")
    assert found
    assert found.items() <= FILES.items()


def set_digest(made: Chains, digest: str) -> None:
    with sqlite3.connect(made.world.state / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE objects SET digest = ? WHERE id = ?", (digest, str(made.items[0].id)))
    catalog.close()


def test_a_digest_is_proven(made: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = made.items[0].digest
    assert digest is not None
    data = made.world.sequence(str(made.items[0].id))
    assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    proven = []
    proof = ObjectBytes.proof
    monkeypatch.setattr(ObjectBytes, "proof", lambda self: proven.append(proof(self)))
    result = restore(made.world.config, str(made.items[0].id), made.world.folder / "out")
    assert (result.exit_status, result.unproven) == (0, [])
    assert proven == [True]


def test_a_digest_that_differs_leaves_the_files_and_says_so(made: Chains) -> None:
    set_digest(made, "sha256:" + "0" * 64)
    first = str(made.items[0].id)
    result = restore(made.world.config, first, made.world.folder / "out")
    assert result.exit_status == 1
    assert f"object {first} of D1 is unproven" in result.unproven[0]
    assert read(made.world.folder / "out") == FILES
    with (made.world.folder / "sequence").open("wb") as out:
        said = cat(made.world.config, first, out.fileno())
    assert said.exit_status == 1
    assert "is unproven" in said.unproven[0]
    for n in range(2):
        made.index(n).unlink()
    chain = restore_as_asked(made.world.config, Request("D1"), made.world.folder / "chain")
    assert chain.exit_status == 1
    assert read(made.world.folder / "chain") == dict(made.trees[1])
