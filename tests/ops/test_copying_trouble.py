"""Copying when things go wrong in between: a power cut, a drive that hangs, volumes that are lost, sources that broke
off, objects that go different ways."""

from __future__ import annotations

import threading
from random import Random

import pytest
from ops_world import World, assert_receipts_hold
from power_cut import dies
from test_copying import OFTEN, VAULT, Vault, vault  # noqa: F401
from test_moving import CUTS, configure, filled, labels, move  # noqa: F401

from tapeloom._kernel import Stop
from tapeloom.catalog import Catalog, CopyStatus, Outcome, VolumeState
from tapeloom.errors import DeviceError, RestoreError
from tapeloom.ops import rounds
from tapeloom.ops.backup import open_backup
from tapeloom.ops.copying import open_missing
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.moving import Verb, open_moving
from tapeloom.ops.verify import verify
from tapeloom.runtime import Ending, hanging
from tapeloom.runtime.reading import Place
from tapeloom.volume.header import Level
from tapeloom.volume.writer import VolumeWriter

DRIVES = {name: f'"vtape:tapes/{name}"' for name in ("R1", "R2", "R3", "R4")}
SOURCES = {name: f'"data/{name}"' for name in ("D1", "D2", "D3")}


def two_readers(vault: Vault, mine: str, others: str) -> None:  # noqa: F811
    """V reads R1 for C1, and W the mirror on R4."""
    body = VAULT.format(
        wanted=f"B1 = {mine}", first='B1 = "V.B1", B2 = "W.B1"', second='B1 = "C1.B1"', settings="", copying=OFTEN
    )
    reader = f'[restore.vault.W]\ndrive = "R4"\nbuffers = {{ B1 = {others} }}\n'
    vault.world.configure(body.replace("[copy.1.C1]", f"{reader}[copy.1.C1]"), drives=DRIVES, sources=SOURCES)


def retire(world: World, drive: str) -> list[str]:
    """What `retire` does to all volumes of a drive."""
    lost = labels(world, drive)
    with Catalog.open(world.state) as catalog:
        for label in lost:
            catalog.set_volume_state(catalog.volume(label).id, VolumeState.RETIRED)
    return lost


@pytest.mark.parametrize("moment", [moment for moment in CUTS if moment != "volumes go out of use"])
def test_a_power_cut_at_any_moment(vault: Vault, moment: str) -> None:  # noqa: F811
    """Two stages, of which one spans volumes: afterwards they lack different parts of the same objects."""
    chance = Random(moment)
    vault.configure(R2='{ device = "vtape:tapes/R2", capacity = "700KB" }')
    dies(lambda: vault.copy().exit_status, moment, chance.randint(1, 6), chance.random() < 0.5)
    assert_receipts_hold(vault.world)
    with open_missing(vault.world.config, of_copying=True) as copying:
        assert copying.run().unpaid == []
    assert vault.copy().exit_status == 0
    assert vault.world.status("D1") == dict.fromkeys(("A", "M", "C1", "C2"), "complete")
    for source, agent in (("D1", "C1"), ("D1", "C2"), ("D2", "C1")):
        vault.same(source, agent)
    assert_receipts_hold(vault.world)


def test_objects_of_one_source_come_from_two_drives(vault: Vault) -> None:  # noqa: F811
    """An agent lacks D1, which is read from R1, and its file index, of which R1 has no good copy any more."""
    world = vault.world
    vault.configure(R2='"vtape:tapes/R2?fail_write=1"')
    assert vault.copy().exit_status == 1
    with Catalog.open(world.state) as catalog:
        index = catalog.index_of(world.object("D1").id)
        assert index is not None
        catalog.retire(copy.id for copy in index.copies if copy.agent == "A")
    vault.configure()
    result = vault.missing()
    assert (result.exit_status, len(result.rounds)) == (0, 1)
    with world.catalog() as catalog:
        index = catalog.object(index.id)
    assert [copy.status.value for copy in index.copies if copy.agent == "C1"] == ["complete"]
    vault.same("D1", "C1")


def test_one_object_through_two_readers_is_written_once(vault: Vault) -> None:  # noqa: F811
    two_readers(vault, '"D1"', '{ source = "D1", since = "2001-01-01" }')
    assert vault.copy().exit_status == 0
    mine = [copy.status for copy in vault.world.object("D1").copies if copy.agent == "C1"]
    assert mine == [CopyStatus.COMPLETE]
    vault.same("D1", "C1")


def test_a_target_that_cannot_be_opened_costs_its_own_copies(vault: Vault) -> None:  # noqa: F811
    vault.configure(R2='"/dev/no-such-nst"')
    result = vault.copy()
    assert result.exit_status == 1
    assert vault.world.status("D1") == {"A": "complete", "M": "complete", "C1": "missing", "C2": "complete"}
    vault.same("D1", "C2")
    vault.configure()
    assert vault.missing().exit_status == 0
    vault.same("D1", "C1")


def test_where_what_reads_cannot_be_opened_nothing_is_begun(vault: Vault) -> None:  # noqa: F811
    with vault.world.catalog() as catalog:
        before = len(catalog.jobs())
    vault.configure(R1='"/dev/no-such-nst"')
    with pytest.raises(DeviceError, match="drive R1: /dev/no-such-nst cannot be looked at"):
        vault.copy()
    with vault.world.catalog() as catalog:
        assert len(catalog.jobs()) == before


def test_a_drive_that_hangs_is_not_opened_again(
    vault: Vault,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two_readers(vault, '"D2"', '"D1"')
    vault.harm("D1", "M", "R4", 5)
    back = threading.Event()
    real = rounds.Mounts.place

    def place(self: rounds.Mounts, volume, until=None):
        if self._volume_of(volume).drive == "R1":
            back.wait()
        return real(self, volume, until)

    monkeypatch.setattr(rounds.Mounts, "place", place)
    monkeypatch.setattr(hanging, "READING_HUNG_SECONDS", 0.3)
    try:
        result = vault.copy()
    finally:
        back.set()
    assert {one.agent: one.ending for one in result.rounds[0].agents}["V"] is Ending.HUNG
    assert vault.world.status("D2")["C1"] == "complete"
    assert {(one.object.source, one.missing) for one in result.unpaid} == {("D1", ((5, 5),))}
    assert "A is of drive R1, which has not come back from a call" in str(result.unpaid[0])


def test_a_drive_that_cannot_be_moved_is_no_damage_of_the_tape(
    vault: Vault,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Place.go_to

    def go_to(self: Place, position: int, passing) -> None:
        if self.device.name == "R1":
            raise DeviceError("drive R1: no such device")
        real(self, position, passing)

    monkeypatch.setattr(Place, "go_to", go_to)
    assert vault.copy().exit_status == 0
    assert vault.world.status("D1") == dict.fromkeys(("A", "M", "C1", "C2"), "complete")


def test_an_agent_with_a_spool(vault: Vault) -> None:  # noqa: F811
    vault.configure(copying='on_lag = "spool"')
    text = vault.world.file.read_text(encoding="utf-8")
    vault.world.file.write_text(text.replace("[drives]", 'spool = "spool"\n[drives]'), encoding="utf-8")
    assert vault.copy().exit_status == 0
    vault.same("D1", "C2")


def test_what_was_on_a_lost_volume_is_copied_again(vault: Vault) -> None:  # noqa: F811
    assert vault.copy().exit_status == 0
    lost = retire(vault.world, "R2")
    assert vault.copy().exit_status == 0
    newest = [copy for copy in vault.world.object("D1").copies if copy.agent == "C1"][-1]
    assert newest.status is CopyStatus.COMPLETE
    assert not set(newest.volumes) & set(lost)


def test_no_volume_is_emptied_for_a_copy_on_a_lost_one(filled: World) -> None:  # noqa: F811
    """The copy that an earlier migration made is complete, but its volume is lost: the mirror is the last one."""
    assert move(filled, Verb.MIGRATE, labels(filled, "R1")).exit_status == 0
    lost = retire(filled, "R3")
    assert move(filled, Verb.MIGRATE, labels(filled, "R2")).exit_status == 0
    whole = [one for one in filled.object("D1").copies if one.status is CopyStatus.COMPLETE]
    assert any(not set(copy.volumes) & set(lost) for copy in whole)


def test_a_copy_begun_on_a_lost_volume_is_begun_anew(vault: Vault) -> None:  # noqa: F811
    vault.configure(R2='"vtape:tapes/R2?fail_write=60"')
    assert vault.copy().exit_status == 1
    assert vault.world.status("D1")["C1"] == "partial"
    lost = retire(vault.world, "R2")
    vault.configure()
    assert vault.copy().exit_status == 0
    newest = [copy for copy in vault.world.object("D1").copies if copy.agent == "C1"][-1]
    assert (newest.status, bool(set(newest.volumes) & set(lost))) == (CopyStatus.COMPLETE, False)


def test_what_broke_off_goes_on_as_far_as_it_is_on_tape(
    filled: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More was read of the source than has a receipt: nobody has that, and no volume waits for it."""
    filled.data("D3", 3_000_000, seed=7)
    real = VolumeWriter.checkpoint
    with open_backup(filled.config) as backup, monkeypatch.context() as patch:

        def checkpoint(self: VolumeWriter) -> None:
            real(self)
            if filled.runs(filled.object("D3"), "A"):  # a mirror's may come first
                backup.job.stop(Stop.NOW)

        patch.setattr(VolumeWriter, "checkpoint", checkpoint)
        backup.run()
    broken = filled.object("D3")
    assert broken.outcome is not Outcome.WHOLE
    volumes = labels(filled)
    result = move(filled, Verb.REFRESH, volumes)
    assert (result.exit_status, result.emptied) == (0, volumes)
    assert filled.runs(broken, "A")
    held = {agent: sum(run.blocks for run in filled.runs(filled.object("D3"), agent)) for agent in ("A", "refresh-R3")}
    assert held["refresh-R3"] == held["A"]


def test_a_part_goes_on_though_nobody_has_the_rest(filled: World) -> None:  # noqa: F811
    """The mirror broke off and the original is gone: its volume is empty when the target has what it had."""
    configure(filled, R2='"vtape:tapes/R2?fail_write=70"')
    text = filled.file.read_text(encoding="utf-8")
    filled.file.write_text(f'{text}checkpoint = "256KiB"\n', encoding="utf-8")
    filled.data("D1", 1_200_000, seed=5)
    assert filled.backup().exit_status == 1
    configure(filled)
    assert filled.status("D1") == {"A": "complete", "M": "partial"}
    with Catalog.open(filled.state) as catalog:
        catalog.retire(copy.id for copy in filled.object("D1").copies if copy.agent == "A")
    volumes = labels(filled, "R2")
    result = move(filled, Verb.REFRESH, volumes)
    assert (result.exit_status, result.emptied) == (1, volumes)
    (unpaid,) = result.copied.unpaid
    item = filled.object("D1")
    assert unpaid.blocks == (item.blocks or 0) - sum(run.blocks for run in filled.runs(item, "M"))


def test_compaction_keeps_what_broke_off_while_the_later_one_has_no_good_copy(filled: World) -> None:  # noqa: F811
    old = filled.object("D3").id
    filled.data("D3", 100_000, seed=4)
    assert filled.backup().exit_status == 0
    with Catalog.open(filled.state) as catalog:
        with catalog._database.writing() as t:
            t.objects.update(outcome="interrupted", blocks=None).where(t.objects.id == str(old)).execute()
        for copy in filled.object("D3").copies:
            catalog.set_copy_status(copy.id, CopyStatus.RETIRED)
    assert move(filled, Verb.COMPACT, labels(filled)).exit_status == 0
    with filled.catalog() as catalog:
        here = {copy.agent: sum(run[3] for run in catalog.runs(copy.id).rows()) for copy in catalog.object(old).copies}
    assert here["compact-R3"] == here["A"] > 0


def test_an_index_alone_on_a_volume_is_not_left_behind(filled: World) -> None:  # noqa: F811
    with filled.catalog() as catalog:
        index = catalog.index_of(filled.object("D3").id)
        assert index is not None
        (volume,) = index.copies[0].volumes
    beside = [copy.id for source in SOURCES for copy in filled.object(source).copies if volume in copy.volumes]
    with Catalog.open(filled.state) as catalog:  # as where its object ended with the volume before
        for copy in beside:
            catalog.set_copy_status(copy, CopyStatus.RETIRED)
    with open_moving(filled.config, Verb.COMPACT, [volume], "R3") as moving:
        assert index.id not in {one.id for one in moving.left_behind}
        assert index.id in {debt.object for debt in moving.copying.debts}


@pytest.mark.parametrize("wanted", ['"D1"', '{ since = "2001-01-01" }'])
def test_a_damaged_full_keeps_nothing_else_from_being_copied(vault: Vault, wanted: str) -> None:  # noqa: F811
    """Its increments go on with what is left of it, and so does every other object."""
    full = vault.world.object("D1")
    for agent, drive in (("A", "R1"), ("M", "R4")):
        vault.harm("D1", agent, drive, 6)
    (vault.world.folder / "data" / "D1" / "later").write_bytes(b"later" * 9000)
    assert vault.world.backup(["nightly"], level=Level.INCREMENTAL).exit_status == 0
    assert len(verify(vault.world.config).faults) == 2
    vault.configure(f"B1 = {wanted}", first='B1 = "V.B1"')
    result = vault.copy()
    assert {(one.object.id, one.place.agent, one.missing) for one in result.unpaid} == {
        (full.id, "C1", ((6, 6),)),
        (full.id, "C2", ((6, 6),)),
    }
    assert vault.world.object("D1").level is Level.INCREMENTAL
    assert vault.world.status("D1")["C2"] == "complete"


def test_increments_whose_full_is_gone(vault: Vault) -> None:  # noqa: F811
    """Named, that is said; selected among others, they are copied as they are."""
    full = vault.world.object("D1")
    (vault.world.folder / "data" / "D1" / "later").write_bytes(b"later" * 9000)
    assert vault.world.backup(["nightly"], level=Level.INCREMENTAL).exit_status == 0
    with Catalog.open(vault.world.state) as catalog:
        catalog.retire(copy.id for copy in full.copies)
    vault.configure('B1 = "D1"', first='B1 = "V.B1"')
    with pytest.raises(RestoreError, match="is an increment to object"):
        vault.copy()
    vault.configure('B1 = { since = "2001-01-01" }', first='B1 = "V.B1"')
    assert vault.copy().exit_status == 0
    for source in SOURCES:
        assert vault.world.status(source)["C2"] == "complete"


def test_a_later_drive_that_somebody_else_holds(vault: Vault) -> None:  # noqa: F811
    """The block that only R4 could give is owed; what the first round has brought is told all the same."""
    vault.harm("D1", "A", "R1", 5)
    with open_configured(vault.world.config, "R4"):
        result = vault.copy()
    assert result.exit_status == 1
    assert {(one.object.source, one.place.agent, one.missing) for one in result.unpaid} == {
        ("D1", "C1", ((5, 5),)),
        ("D1", "C2", ((5, 5),)),
    }
    assert any("R4" in remark and "held by" in remark for remark in result.remarks)
    assert vault.copy().exit_status == 0
