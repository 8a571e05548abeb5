"""`demux`: what it says when it is typed, and how it ends."""

from __future__ import annotations

from cli_world import Site


def labels(site: Site) -> list[str]:
    return [one["label"] for one in site.good("volumes", "--json").json if one["drive"] == "R1"]


def test_the_plan_says_how_many_passes_and_why(site: Site) -> None:
    site.good("backup")
    volumes = labels(site)
    said = site.good("demux", *volumes, "--to", "R3", "--dry-run")
    assert "1 pass:" in said.out
    assert said.out.rstrip().endswith("Nothing has moved.")
    plan = site.good("demux", *volumes, "--to", "R3", "--spool", "0", "--dry-run", "--json").json
    assert plan["verb"] == "demux"
    assert plan["spool_bytes_max"] == plan["spool_bytes"] == 0
    assert plan["reason"].startswith(f"{len(plan['passes'])} pass")
    assert {one["source"] for each in plan["passes"] for one in each["targets"]["R3"]} == {"docs", "mail"}
    assert labels(site) == volumes


def test_it_is_done_once(site: Site) -> None:
    site.good("backup")
    volumes = labels(site)
    said = site.good("demux", *volumes, "--to", "R3", "--in-memory")
    assert "All copies are complete." in said.out
    assert "waited at most" in said.out
    site.good("restore", "docs", "--copy", "demux-R3", "--to", str(site.folder / "again"))
    assert "2 objects in one piece already" in site.good("demux", *volumes, "--to", "R3", "--dry-run").out
    assert site.good("demux", *volumes, "--to", "R3", "--json").json["passes"] == 0
    done = site.good("demux", *volumes, "--to", "R2", "--retire", "--spool", "4MiB", "--json").json
    assert (done["retired"], done["kept"]) == (volumes, [])


def test_what_cannot_be(site: Site) -> None:
    site.good("backup")
    for words, says in (
        (("--to", "R1"), "read and write at once"),
        (("--to", "R9"), "there is no drive"),
        (("--to", "R3", "--spool", "much"), "--spool"),
    ):
        said = site.run("demux", *labels(site), *words)
        assert said.status == 2
        assert says in said.err
        assert said.err.startswith("tapeloom: ")
