"""`copy`, `compact`, `refresh`, `migrate`, `objects --retire`: what they say when they are typed, and how they end."""

from __future__ import annotations

import pytest
from cli_world import Site

from tapeloom.catalog import Catalog

COPIES = """
[restore.vault.V]
drive = "R1"
buffers = { B1 = "docs", B2 = "mail" }

[copy.1.C]
drive = "R3"
buffers = { B1 = "V.B1", B2 = "V.B2" }
"""
ON_R3 = 'R3 = "vtape:tapes/R3"'


def configure(site: Site, *changes: tuple[str, str]) -> None:
    """With a restore group whose objects go from R1 to R3."""
    site.configure(*changes)
    with site.file.open("a") as file:
        file.write(COPIES)


@pytest.fixture
def vault(site: Site) -> Site:
    configure(site)
    site.good("backup")
    return site


def copies(site: Site) -> dict[str, dict[str, str]]:
    """source -> agent -> status"""
    found: dict[str, dict[str, str]] = {}
    for one in site.good("objects", "--json").json:
        found.setdefault(one["source"], {}).update({copy["agent"]: copy["status"] for copy in one["copies"]})
    return found


def states(site: Site) -> dict[str, str]:
    return {one["label"]: one["state"] for one in site.good("volumes", "--json").json}


def ids(site: Site, source: str) -> list[str]:
    return [one["id"] for one in site.good("objects", source, "--json").json]


def fail(site: Site, *words: str, status: int, says: str) -> None:
    """One sentence on standard error and nothing else."""
    said = site.run(*words)
    assert said.status == status, said
    assert says in said.err
    assert said.err.startswith("tapeloom: ")
    assert said.out == ""


def test_copies_are_made_once(vault: Site) -> None:
    first = vault.good("copy")
    assert "All copies are complete." in first.out
    assert copies(vault) == {
        "docs": {"BMA1": "complete", "BMA2": "complete", "C": "complete"},
        "mail": {"BMA1": "complete", "C": "complete"},
    }
    again = vault.good("copy")
    assert "There was nothing to copy; 4 copies complete, file indexes counted, before." in again.out
    vault.good("restore", "docs", "--copy", "C", "--to", str(vault.folder / "again"))
    assert (vault.folder / "again" / "large.bin").read_bytes() == (vault.folder / "data/docs/large.bin").read_bytes()


def test_a_dry_run_moves_nothing(vault: Site) -> None:
    said = vault.good("copy", "--dry-run").out
    assert "1 round, 1 pass of a volume" in said
    assert "\n\n\n" not in said
    plan = vault.good("copy", "vault", "--dry-run", "--json").json
    (one,) = plan["rounds"]
    assert [(read["agent"], read["label"]) for read in one["reads"]] == [("V", "R1-0001")]
    assert [(write["agent"], write["objects"]) for write in one["writes"]] == [("C", 2)]
    assert (plan["verb"], plan["already"], plan["unpaid"]) == ("copy", 0, [])
    assert "C" not in copies(vault)["docs"]
    assert len(vault.good("jobs", "--json").json) == 1


def test_what_became_of_it_as_json(vault: Site) -> None:
    made = vault.good("copy", "--json").json
    assert {(one["source"], one["agent"], one["status"]) for one in made["copies"]} == {
        ("docs", "C", "complete"),
        ("mail", "C", "complete"),
    }
    assert all(one["blocks_safe"] == one["blocks"] > 0 for one in made["copies"])
    assert {one["agent"]: one["ending"] for one in made["agents"]} == {"V": "complete", "C": "complete"}
    assert (made["exit_status"], made["unpaid"], made["faults"]) == (0, [], [])
    (job,) = made["jobs"]
    shown = vault.good("jobs", job, "--json").json
    assert (shown["job"]["kind"], shown["job"]["status"]) == ("copy", "complete")


@pytest.mark.parametrize("how", ["--missing", "--resume"])
def test_a_copy_that_was_cut_short_is_completed(vault: Site, how: str) -> None:
    configure(vault, (ON_R3, 'R3 = "vtape:tapes/R3?fail_filemark=2"'))  # the first one is the label's
    said = vault.run("copy")
    assert said.status == 3
    assert "C (drive R3) failed" in said.out
    assert "What copies still lack" in said.out
    assert "its drive R3 did not come to its end" in said.out
    configure(vault)
    assert "All copies are complete." in vault.good("copy", how).out
    assert copies(vault)["mail"] == {"BMA1": "complete", "C": "complete"}
    assert "There was nothing to copy." in vault.good("copy", how).out


def test_only_jobs_that_copied_are_resumed(site: Site) -> None:
    site.configure(('R2 = "vtape:tapes/R2"', 'R2 = "vtape:tapes/R2?fail_filemark=2"'))
    assert site.run("backup").status == 1
    site.configure()
    assert "There was nothing to copy." in site.good("copy", "--resume").out
    assert copies(site)["docs"]["BMA2"] == "missing"
    assert "There was nothing to copy." in site.good("copy", "--missing", "--copies", "1").out
    assert "All copies are complete." in site.good("copy", "--missing", "--copies", "2").out
    assert copies(site)["docs"]["BMA2"] == "complete"


def test_the_job_tells_who_read_and_what_could_not_be_read(vault: Site) -> None:
    (tape,) = (vault.folder / "tapes" / "R1").glob("*.tape")
    tape.rename(vault.folder / "elsewhere")
    said = vault.run("copy", "--no-wait")
    assert said.status == 1  # docs comes from its mirror, mail from nowhere
    assert "BMA1 was asked, and could not give it" in said.out
    first = vault.good("jobs", "--json").json[1]["id"]
    shown = vault.good("jobs", first).out
    assert "V (drive R1)" in shown
    assert "Blocks that could not be read where they were wanted" in shown
    assert "there is no cartridge R1-0001" in shown
    assert copies(vault)["docs"]["C"] == "complete"
    (vault.folder / "elsewhere").rename(tape)
    vault.good("copy", "--resume")
    assert copies(vault)["mail"]["C"] == "complete"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["copy", "weekly"], 2, 'there is no backup or restore group "weekly"'),
        (["copy", "nightly"], 2, "backup.nightly is no restore group"),
        (["copy", "vault", "--missing"], 2, "give one of them"),
        (["copy", "--missing", "--resume"], 2, "give one of them"),
        (["copy", "--copies", "2"], 2, "--copies goes with --missing"),
        (["copy", "--single", "--missing"], 2, "--single goes with GROUP"),
        (["compact", "R9-0001", "--to", "R3"], 2, "no volume R9-0001"),
        (["compact", "R1-0001", "--to", "R9"], 2, 'there is no drive "R9"'),
        (["compact", "R1-0001", "--to", "R1"], 2, "would have to read and write at once"),
        (["refresh", "R1-0001"], 2, "'--to'"),
        (["migrate", "--from", "R7", "--to", "R3"], 2, 'neither a volume nor a drive "R7"'),
        (["migrate", "--from", "R3", "--to", "R1"], 2, "there is no volume in use"),
        (["objects", "--retire"], 2, "--retire needs the IDs"),
        (["objects", "--retire", "docs"], 2, "no object with the id docs"),
        (["objects", "docs", "mail"], 2, "one source or none"),
        (["objects", "--yes"], 2, "go with --retire"),
    ],
)
def test_wrong_use(vault: Site, words: list[str], status: int, says: str) -> None:
    fail(vault, *words, status=status, says=says)


def test_nothing_to_start_from(site: Site) -> None:
    fail(site, "copy", status=2, says="there is no restore group")
    configure(site)
    fail(site, "copy", status=2, says="docs is neither a source that has objects")


def test_the_state_folder_is_in_use(vault: Site) -> None:
    with Catalog.open(vault.folder / "state"):
        for words in (["copy"], ["compact", "R1-0001", "--to", "R3"], ["objects", "--retire", "0000"]):
            fail(vault, *words, status=3, says="is in use by process")
        said = vault.run("copy", "--wait", "0.01")
    assert said.status == 3
    assert "also after 0.01 s" in said.err


@pytest.mark.parametrize(("verb", "state"), [("compact", "scratch"), ("refresh", "retired"), ("migrate", "retired")])
def test_moving_empties_a_volume(vault: Site, verb: str, state: str) -> None:
    from_volume = ["--from", "R1"] if verb == "migrate" else ["R1-0001"]
    plan = vault.good(verb, *from_volume, "--to", "R3", "--dry-run", "--json").json
    assert plan["afterwards"] == [f"R1-0001: {state}, as soon as all that goes on has its receipts"]
    assert states(vault)["R1-0001"] == "appendable"
    moved = vault.good(verb, *from_volume, "--to", "R3", "--json").json
    assert (moved["emptied"], moved["kept"], moved["left_behind"]) == (["R1-0001"], [], [])
    assert states(vault) == {"R1-0001": state, "R2-0001": "appendable", "R3-0001": "appendable"}
    assert copies(vault)["mail"] == {"BMA1": "retired", f"{verb}-R3": "complete"}
    listed = vault.good("objects").out
    assert "retired" not in listed  # history, where others are left
    assert f"{verb}-R3" in listed
    (vault.folder / "tapes" / "R1" / "R1-0001.tape").unlink()
    vault.good("restore", "mail", "--to", str(vault.folder / "again"))
    vault.good("verify")
    fail(vault, "restore", "mail", "--copy", "BMA1", "--to", "x", status=3, says="has no copy that is counted on")
    fail(vault, "compact", "R1-0001", "--to", "R2", status=2, says=f"is {state} already")
    vault.good("backup")  # goes on with a new volume
    assert states(vault)["R1-0002"] == "appendable"


def test_a_move_that_cannot_be_ends_with_3(vault: Site) -> None:
    configure(vault, (ON_R3, 'R3 = "vtape:tapes/R3?fail_filemark=2"'))
    said = vault.run("compact", "R1-0001", "--to", "R3")
    assert said.status == 3
    assert "Kept as it is, since not all of it has gone on: R1-0001." in said.out
    assert states(vault)["R1-0001"] == "appendable"
    assert copies(vault)["docs"]["BMA1"] == "complete"


def test_a_drive_that_is_gone_is_emptied_from_other_copies(vault: Site) -> None:
    vault.file.write_text(
        '[drives]\nR1 = "vtape:tapes/R1"\nR3 = "vtape:tapes/R3"\n[sources]\ndocs = "data/docs"\n'
        '[backup.nightly.BMA1]\ndrive = "R1"\nbuffers = { B1 = "docs" }\n[server]\nblock = "16KiB"\n'
    )
    moved = vault.good("migrate", "--from", "R2", "--to", "R3", "--json").json
    assert moved["emptied"] == ["R2-0001"]
    assert copies(vault)["docs"] == {"BMA1": "complete", "BMA2": "retired", "migrate-R3": "complete"}


def test_a_volume_that_was_retired_by_hand_can_be_emptied(vault: Site) -> None:
    vault.good("retire", "R1-0001", "--reason", "old", "--yes")
    assert vault.good("compact", "R1-0001", "--to", "R3", "--json").json["emptied"] == ["R1-0001"]
    assert states(vault)["R1-0001"] == "scratch"
    fail(vault, "retire", "R1-0001", "--reason", "old", "--yes", status=2, says="R1-0001 is scratch")


def test_a_copy_beside_another_one_is_remarked(vault: Site) -> None:
    said = vault.good("compact", "R1-0001", "--to", "R2").out
    assert "docs: drive R2 has a copy of it already, that of BMA2" in said


def chained(site: Site) -> list[str]:
    """Three objects of docs: a full one, and two increments on it."""
    for text in ("two", "three"):
        (site.folder / "data" / "docs" / text).write_text(text)
        site.good("backup", "--level", "incremental")
    return ids(site, "docs")


def test_what_a_chain_needs_is_not_retired(vault: Site) -> None:
    full, middle, newest = chained(vault)
    said = vault.run("objects", "--retire", full, middle)
    assert said.status == 3
    assert f"{newest} of docs is kept, and builds on what was named" in said.err
    assert [line.split()[0] for line in said.err.splitlines()[1:]] == [full, middle, newest]
    assert [line.endswith("to be retired") for line in said.err.splitlines()[1:]] == [True, True, False]
    assert "retired" not in copies(vault)["docs"].values()


def test_an_increment_goes_alone_and_a_full_one_with_all_of_its_own(vault: Site) -> None:
    full, middle, newest = chained(vault)
    assert [one["id"] for one in vault.good("objects", "--retire", newest, "--json").json] == [newest]
    vault.good("restore", "docs", "--to", str(vault.folder / "again"))
    assert not (vault.folder / "again" / "three").exists()
    gone = vault.good("objects", "--retire", full, "--with-increments", "--json").json
    assert [(one["id"], one["status"]) for one in gone] == [(one, "retired") for one in (full, middle, newest)]
    assert "BMA1 (retired), BMA2 (retired)" in vault.good("objects", "docs").out
    fail(vault, "restore", "docs", "--to", "x", status=3, says="retired copies (on R1-0001, R2-0001) are not read")
    said = vault.good("backup", "--level", "incremental").out
    assert "docs: a full backup instead" in said


def test_compaction_leaves_retired_objects_behind(vault: Site) -> None:
    (old,) = ids(vault, "docs")
    vault.good("backup")
    vault.good("objects", "--retire", old)
    moved = vault.good("compact", "R1-0001", "--to", "R3", "--json").json
    assert (moved["emptied"], moved["left_behind"]) == (["R1-0001"], [old])
    assert {one["object"] for one in moved["copies"]} == {*ids(vault, "docs"), *ids(vault, "mail")} - {old}
    vault.good("restore", "docs", "--copy", "compact-R3", "--to", str(vault.folder / "again"))


def test_a_file_index_is_not_retired_by_itself(vault: Site) -> None:
    (one,) = ids(vault, "docs")
    with Catalog.open(vault.folder / "state", readonly=True) as catalog:
        index = catalog.index_of(catalog.object(one).id)
    assert index is not None
    fail(vault, "objects", "--retire", str(index.id), status=2, says=f"name {one}")
    vault.good("objects", "--retire", one)
    with Catalog.open(vault.folder / "state", readonly=True) as catalog:
        assert {copy.status.value for copy in catalog.object(index.id).copies} == {"retired"}
