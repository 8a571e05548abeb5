"""Each verb on a small installation: what it prints, for people and as JSON, and its exit status."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
from pathlib import Path
from uuid import uuid4

import jsonschema
import pytest
from cli_world import Site

from tapeloom.attach import attach
from tapeloom.catalog import Catalog, Place
from tapeloom.cli.main import main
from tapeloom.ops.demo import differences

OBJECT_KEYS = [
    *("id", "source", "job", "level", "as_of", "parent", "stands_for", "bytes", "files"),
    *("digest", "codec", "key", "status", "copies"),
]
COPY_KEYS = ["agent", "group", "drive", "volumes", "status", "damage"]


def test_init_makes_a_file_that_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert "tapeloom backup" in capfd.readouterr().err
    assert main(["config", "check"]) == 0
    assert main(["backup"]) == 0
    assert main(["objects"]) == 0
    assert "docs" in capfd.readouterr().out


def test_init_leaves_a_file_alone(site: Site) -> None:
    before = site.file.read_bytes()
    said = site.run("init")
    assert said.status == 2
    assert "stays as it is" in said.err
    assert site.file.read_bytes() == before


def test_init_where_no_file_can_be_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(tmp_path / "no" / "such" / "file.toml"), "init"]) == 2
    assert "cannot be written: No such file or directory" in capfd.readouterr().err


def test_config_check(site: Site) -> None:
    said = site.good("config", "check")
    assert "3 drives, 2 sources, 2 media agents in 2 groups" in said.out
    assert site.good("config", "check", "--json").json == []


def test_config_check_names_all_mistakes(site: Site) -> None:
    site.configure(('"16KiB"', '"17KiB"'), ("BMA1.B1", "BMA1.B9"))
    said = site.run("config", "check")
    assert said.status == 2
    assert not said.out
    assert len(said.err.splitlines()) == 2
    problems = site.run("config", "check", "--json")
    assert problems.status == 2
    assert [sorted(one) for one in problems.json] == [["file", "hint", "line", "what"]] * 2
    assert {one["line"] for one in problems.json} == {3, 21}


def test_config_check_takes_a_missing_path_for_no_mistake_of_the_file(site: Site) -> None:
    site.configure(("data/mail", "data/mial"))
    said = site.run("config", "check")
    assert said.status == 1
    assert "data/mial does not exist" in said.err
    assert site.run("config", "check", "--json").json[0]["line"] == 13
    assert "data/mial does not exist" in " ".join(site.good("plan").out.split())


def test_config_schema_fits_what_is_right(site: Site) -> None:
    import tomllib

    schema = site.good("config", "schema").json
    jsonschema.validate(tomllib.loads(site.file.read_text()), schema)


def test_plan(site: Site) -> None:
    picture = site.folder / "plan.svg"
    said = site.good("plan", "nightly", "--svg", str(picture))
    assert "Bottleneck" in said.out
    assert picture.read_text().startswith("<svg")
    plan = site.good("plan", "--json").json
    assert [chain["sources"] for chain in plan["chains"]] == [["docs"], ["mail"]]
    assert not (site.folder / "state").exists()


def test_plan_of_a_restore_group_needs_no_sources(capfd: pytest.CaptureFixture[str]) -> None:
    file = Path(__file__).parent.parent / "config" / "fig5.toml"
    assert main(["-c", str(file), "plan", "vault", "--json"]) == 0
    assert [chain["feed"] for chain in json.loads(capfd.readouterr().out)["chains"]] == ["drive"] * 4


def test_backup_and_what_the_catalog_says(site: Site) -> None:
    said = site.good("backup")
    assert "complete" in said.out
    assert "docs" in said.err
    objects = site.good("objects", "--json").json
    assert [list(one) for one in objects] == [OBJECT_KEYS] * 2
    assert {one["source"] for one in objects} == {"docs", "mail"}
    for one in objects:
        assert [list(copy) for copy in one["copies"]] == [COPY_KEYS] * len(one["copies"])
        assert (one["level"], one["parent"], one["status"], one["files"]) == ("full", None, "complete", 2)
        assert one["as_of"].endswith("Z")
    copies = {one["source"]: [copy["agent"] for copy in one["copies"]] for one in objects}
    assert copies == {"docs": ["BMA1", "BMA2"], "mail": ["BMA1"]}
    assert [one["source"] for one in site.good("objects", "mail", "--json").json] == ["mail"]
    (job,) = site.good("jobs", "--json").json
    assert (job["kind"], job["groups"], job["status"]) == ("backup", ["nightly"], "complete")
    assert {one["label"] for one in site.good("volumes", "--json").json} == {"R1-0001", "R2-0001"}
    for verb in (["objects"], ["objects", "docs"], ["jobs"], ["volumes"]):
        assert site.good(*verb).out
    shown = site.good("jobs", job["id"][:18])
    assert "BMA2 (drive R2) complete" in shown.out
    assert site.good("jobs", job["id"], "--json").json["job"] == job


def test_backup_as_json_is_alone_on_standard_output(site: Site) -> None:
    said = site.good("backup", "--json").json
    assert list(said) == ["job", "copies", "objects", "exit_status"]
    assert said["exit_status"] == 0
    assert said["objects"] == site.good("objects", "--json").json
    assert {(one["source"], one["agent"], one["blocks_safe"] == one["blocks"]) for one in said["copies"]} == {
        ("docs", "BMA1", True),
        ("docs", "BMA2", True),
        ("mail", "BMA1", True),
    }


def test_a_source_that_is_not_there_fails_alone(site: Site) -> None:
    site.configure(("data/mail", "data/mial"))
    said = site.run("backup", "--json")
    assert said.status == said.json["exit_status"] == 1
    assert {one["source"]: one["status"] for one in said.json["objects"]} == {"docs": "complete", "mail": "failed"}
    assert "data/mial" in said.err
    again = site.run("backup")
    assert again.status == 1
    assert "Troubles of sources" in again.out
    site.run("restore", "docs", "--to", str(site.folder / "out"))
    assert not differences(site.folder / "data" / "docs", site.folder / "out")


def test_a_mirror_that_fails_is_told_of_and_the_backup_goes_on(site: Site) -> None:
    site.configure(("tapes/R2", "tapes/R2?fail_write=8"))
    said = site.run("backup")
    assert said.status == 1
    assert "BMA2 is detached: drive R2 writes no more" in said.err
    assert "BMA2 (drive R2) failed" in said.out
    (docs,) = site.good("objects", "docs", "--json").json
    assert {copy["agent"]: copy["status"] for copy in docs["copies"]} == {"BMA1": "complete", "BMA2": "missing"}
    checked = site.good("verify")
    assert "known as incomplete" in checked.out
    assert site.run("restore", "docs", "--to", str(site.folder / "out"), "--copy", "BMA2").status == 3


def test_nothing_done_has_an_exit_status_of_its_own(site: Site) -> None:
    site.configure(("tapes/R1", "tapes/R1?fail_write=1"), ("tapes/R2", "tapes/R2?fail_write=1"))
    assert site.run("backup").status == 3


@pytest.mark.parametrize(
    "where", [(), ("--copy", "BMA1"), ("--copy", "BMA2"), ("--volume", "R1-0001"), ("--volume", "R2-0001")]
)
def test_restore_from_each_copy(site: Site, where: tuple[str, ...]) -> None:
    site.good("backup")
    target = site.folder / "out"
    said = site.good("restore", "docs", "--to", str(target), *where)
    assert "2 files" in said.out
    assert not differences(site.folder / "data" / "docs", target)


def test_restore_by_a_cut_id_in_place(site: Site) -> None:
    site.good("backup")
    id = site.good("objects", "docs", "--json").json[0]["id"]
    target = site.folder / "data" / "docs"
    (target / "one.txt").write_text("changed")
    to = ("--to", str(target))
    assert site.run("restore", id[:18], *to).status == 3
    assert site.run("restore", id[:18], *to, "--in-place").status == 1
    site.good("restore", id[:18], *to, "--in-place", "--existing", "skip")
    assert (target / "one.txt").read_text() == "changed"
    site.good("restore", id[:18], *to, "--in-place", "--existing", "replace")
    assert (target / "one.txt").read_text() == "one of docs\n"


def test_cat_gives_a_tar(site: Site) -> None:
    site.good("backup")
    with site.start("cat", "docs", "--copy", "BMA2", stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        sequence = process.stdout.buffer.read()
    assert process.returncode == 0
    with tarfile.open(fileobj=io.BytesIO(sequence)) as tar:
        assert tar.getnames() == [".", "./large.bin", "./one.txt"]


def test_verify_does_not_call_damaged_what_it_could_not_read(site: Site) -> None:
    site.good("backup")
    tape = site.folder / "tapes" / "R2" / "R2-0001.tape"
    tape.rename(site.folder / "elsewhere")
    said = site.run("verify", "--no-wait")
    assert said.status == 1
    assert [line.split()[-2] for line in said.out.splitlines() if " BMA2 " in line] == ["read", "read"]
    assert "Not read, which says nothing of what is on tape" in said.out
    assert "Damaged" not in said.out
    assert site.run("verify", "--copy", "BMA2", "--no-wait").status == 3, "nothing was done"
    (site.folder / "elsewhere").rename(tape)
    assert site.good("verify").out.endswith("every checksum is right.\n")


def test_verify_finds_a_damaged_block(site: Site) -> None:
    site.good("backup")
    good = site.good("verify", "--json").json
    assert [(one["status"], one["index"]) for one in good["checked"]] == [("good", False)] * 3 + [("good", True)] * 3
    assert good["passed_over"] == []
    tape = site.folder / "tapes" / "R2" / "R2-0001.tape"
    damaged = bytearray(tape.read_bytes())
    at = damaged.index(bytes(range(256)) * 8)
    damaged[at] ^= 1
    tape.write_bytes(damaged)
    said = site.run("verify", "--json")
    assert said.status == 1
    (bad,) = [one for one in said.json["checked"] if one["status"] == "damaged"]
    assert (bad["agent"], bad["faults"][0]["volume"], len(bad["faults"])) == ("BMA2", "R2-0001", 1)
    shown = site.run("verify", "--copy", "BMA2")
    assert shown.status == 1
    assert f"position {bad['faults'][0]['position']}" in shown.out
    assert site.good("verify", "--volume", "R1-0001").out
    # the other copy helps, and it is said
    restored = site.run("restore", "docs", "--to", str(site.folder / "out"))
    assert restored.status == 0
    assert not differences(site.folder / "data" / "docs", site.folder / "out")
    alone = site.run("restore", "docs", "--to", str(site.folder / "alone"), "--copy", "BMA2")
    assert alone.status == 3
    assert "has no complete copy to read (BMA2 damaged)" in alone.err
    assert "BMA1 not asked, because of --copy: leave it out" in alone.err
    alone = site.run("restore", "docs", "--to", str(site.folder / "alone"), "--in-place", "--volume", "R2-0001")
    assert "BMA1 not asked, because of --volume: leave it out" in alone.err
    # where there is no other copy, none is spoken of
    tape = site.folder / "tapes" / "R1" / "R1-0001.tape"
    tape.write_bytes(tape.read_bytes().replace(bytes(range(256)) * 8, bytes(2048)))
    only = site.run("restore", "mail", "--to", str(site.folder / "only"), "--copy", "BMA1")
    assert only.status == 1
    assert "its data is damaged" in only.err
    assert "not asked" not in only.err


def test_hints_keep_the_file_that_was_named(site: Site) -> None:
    site.good("backup")
    assert f"`tapeloom -c {site.file} objects`" in site.run("verify", "mail", "--copy", "BMA2").err
    assert "`tapeloom" not in site.run("jobs", "01a2-none").err


def test_a_job_whose_process_is_gone_is_shown_as_interrupted(site: Site) -> None:
    job, item = uuid4(), uuid4()
    state = site.folder / "state"
    with Catalog.open(state) as catalog:
        catalog.begin_job(job, kind="backup", groups=["nightly"])
        place = Place("BMA1", "nightly", "R1")
        catalog.add_object(item, source="docs", job=job, as_of=1, content=1, copies=[place])
        assert _statuses(site) == ["running", "running", "reading", "running"]
    assert _statuses(site) == ["interrupted", "interrupted", "interrupted", "interrupted"]
    with Catalog.open(state, readonly=True) as catalog:
        assert catalog.job(job).status == "running", "looking changes nothing"


def _statuses(site: Site) -> list[str]:
    (job,) = site.good("jobs", "--json").json
    (item,) = site.good("objects", "--json").json
    one = site.good("jobs", job["id"], "--json").json["job"]
    shown = site.good("jobs").out.splitlines()[1].split()[2]
    return [job["status"], one["status"], item["status"], shown]


def test_what_a_source_leaves_out_is_said(site: Site) -> None:
    for name in ("one.sock", "other.sock"):
        with socket.socket(socket.AF_UNIX) as listener:
            folder = os.open(site.folder / "data" / "docs", os.O_RDONLY)
            listener.bind(f"/proc/self/fd/{folder}/{name}")
            os.close(folder)
    said = site.good("backup")
    assert "one.sock: a socket: it has no content and is left out (and 1 more)" in said.out, said.out
    (job,) = site.good("jobs", "--json").json
    assert len(job["report"]["remarks"]) == 1
    assert "one.sock" in site.good("jobs", job["id"]).out


def test_a_command_is_named_as_one_would_type_it(site: Site) -> None:
    site.configure(('mail = "data/mail"', 'mail = { command = ["sh", "-c", "exit 4\\n"] }'))
    said = site.run("backup")
    assert "command `sh -c 'exit 4\\n'` ended with exit status 4" in said.err


def test_verify_with_nothing_to_read(site: Site) -> None:
    site.good("backup")
    said = site.run("verify", "mail", "--copy", "BMA2")
    assert said.status == 3
    assert "nothing to verify" in said.err


def test_objects_of_a_source_that_broke_off_say_so(site: Site) -> None:
    site.configure(('mail = "data/mail"', 'mail = { command = "head -c 100000 /dev/zero; exit 3" }'))
    assert site.run("backup").status == 1
    target = site.folder / "out"
    (mail,) = site.good("objects", "mail", "--json").json
    by_name = site.run("restore", "mail", "--to", str(target))
    by_id = site.run("restore", mail["id"], "--to", str(target / "by_id"))
    assert (by_name.status, by_id.status) == (3, 1)
    assert f"the newest, {mail['id']} of " in by_name.err
    assert "ends where its source broke off" in by_name.err
    assert "exit status 3); --partial restores what there is" in by_name.err
    assert "broke off" in by_id.err
    said = site.run("restore", "mail", "--to", str(target), "--partial")
    assert said.status == 1
    assert "is not whole" in said.err
    assert (target / "mail").stat().st_size == 100000


def test_a_source_that_a_program_writes_is_waited_for(site: Site) -> None:
    site.configure(('mail = "data/mail"', "mail = { producer = true }"))
    process = site.start("backup")
    assert process.stderr is not None
    while (line := process.stderr.readline()) != "mail waits for its program\n":
        assert line, "the backup ended"
    with attach(site.folder / "state", "mail") as producer:
        producer.write(b"from a program")
    process.communicate()
    assert process.returncode == 0
    site.good("restore", "mail", "--to", str(site.folder / "out"))
    assert (site.folder / "out" / "mail").read_bytes() == b"from a program"


def test_bench(site: Site) -> None:
    few = ("--bytes", "2MiB", "--streams", "2", "--mirrors", "1")
    said = site.good("bench", *few, "--block", "64KiB", "--block", "128KiB", "--json").json
    assert [row["block_bytes"] for row in said["rows"]] == [65536, 131072]
    assert all(row["bytes_per_second"] > 0 for row in said["rows"])
    drive = f"vtape:{site.folder / 'bench'}"
    shown = site.good("bench", drive, "--bytes", "2MiB", "--streams", "1", "--mirrors", "0", "--block", "64KiB")
    assert "64 KiB" in shown.out
    (row,) = site.good(
        "bench", f"vtape:{site.folder / 'b2'}", "--bytes", "1MiB", "--streams", "1", "--block", "64KiB", "--json"
    ).json["rows"]
    assert row["mirrors"] == 0, "there is no drive for one"
    few = site.run("bench", drive, "--mirrors", "1", "--overwrite")
    assert few.status == 2
    assert "1 mirror needs 2 drives, and 1 drive is named" in few.err
    assert "--mirrors" in few.err
    assert "'ribbon:' is no kind of drive" in site.run("bench", "ribbon:", "--mirrors", "5").err
    again = site.run("bench", drive, "--bytes", "2MiB", "--streams", "1", "--mirrors", "0", "--block", "64KiB")
    assert again.status == 2
    assert "--overwrite" in again.err
