from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from tapeloom.config import Config
from tapeloom.picture import svg
from tapeloom.picture.draw import colour
from tapeloom.picture.layout import lay_out
from tapeloom.picture.lettering import clean, fit, width
from tapeloom.schedule import Schedule

Golden = Callable[[str], tuple[Config, Schedule]]
SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_everything_of_figure_2_is_in_the_picture(golden: Golden) -> None:
    words = texts(svg(*golden("fig2")))
    for name in ["BMA124", "BMA126", "BMA138", "BMA140", "BMA144", "BMA146", "R1", "R2", "R3", "R5", "R6", "R8"]:
        assert words.count(name) == 1
    assert [words.count(f"D{number}") for number in range(1, 6)] == [1] * 5
    assert [words.count(name) for name in ("B1", "B2", "B3")] == [4, 3, 3]
    assert {"Backup group nightly", "Mirror group 1", "Mirror group 2"} <= set(words)


def test_groups_are_columns_from_left_to_right(golden: Golden) -> None:
    made = lay_out(*golden("fig2"))
    assert [(panel.kind, panel.name, panel.column) for panel in made.panels] == [
        ("backup", "nightly", 0),
        ("mirror", "1", 1),
        ("mirror", "2", 2),
    ]
    assert len(made.links) == 5
    assert all(link.tail_y == pytest.approx(link.head_y) for link in made.links)  # nothing keeps them from being level


def test_an_arrow_over_a_column_has_a_lane_in_it(golden: Golden) -> None:
    made = lay_out(*golden("fig5"))
    (lane,) = made.lanes
    assert lane.column == 1
    tail, head = [link for link in made.links if link.tail is lane or link.head is lane]
    assert (tail.tail.name, head.head.name) == ("RMA152", "BMA166")  # type: ignore[union-attr]


def test_a_group_that_feeds_itself_spans_columns(compiled: Golden) -> None:
    text = """
    [drives]
    R1 = "null:"
    R2 = "null:"
    R3 = "null:"
    [sources]
    D = "d"
    [backup.b.A]
    drive = "R1"
    buffers = { B = "D" }
    [mirror.m.M]
    drive = "R2"
    buffers = { B = "A.B" }
    [mirror.m.N]
    drive = "R3"
    buffers = { B = "M.B" }
    """
    made = lay_out(*compiled(text))
    assert [(panel.name, panel.column) for panel in made.panels] == [("b", 0), ("m", 1), ("m", 2)]


def test_a_reader_of_the_picture_can_be_a_machine(golden: Golden) -> None:
    root = ElementTree.fromstring(svg(*golden("fig5")))
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text == "fig5.toml: restore group vault"
    assert description is not None
    assert "RMA150 of restore group vault reads drive R2, buffers B1, B2" in (description.text or "")
    assert root.get("aria-labelledby") == "title description"


def test_a_drive_that_is_read_has_a_pool(golden: Golden) -> None:
    def slots(name: str) -> int:
        return svg(*golden(name)).count('stroke-width="3.5"')

    def said(name: str) -> bool:
        return any(word.startswith("pool") for word in texts(svg(*golden(name))))

    assert slots("fig5") == 10 + 2 + 2, "of each buffer and each restore media agent, and two in the legend"
    assert slots("fig2") == 10 + 1
    assert (said("fig5"), said("fig2")) == (True, False)
    assert {"RMA150", "4 chains  ·  6 media agents  ·  512 slots of 512 KiB"} <= set(texts(svg(*golden("fig5"))))


def test_the_title_names_what_the_job_begins_with(golden: Golden) -> None:
    assert "two_groups.toml: backup groups nightly, weekly" in texts(svg(*golden("two_groups")))


def test_names_are_escaped_and_cut_in_the_middle(compiled: Golden) -> None:
    source = "<script>alert('&')</script> and much more than fits into the room that a name has"
    agent = "Köln & <Bonn> in an agent's name that is longer than its box"
    text = (
        f'[drives]\n"R<1>" = "null:"\n[sources]\n"{source.replace("/", "|")}" = "d"\n'
        f'[backup."g&h"."{agent}"]\ndrive = "R<1>"\nbuffers = {{ "b&b" = "{source.replace("/", "|")}" }}\n'
    )
    picture = svg(*compiled(text))
    root = ElementTree.fromstring(picture)
    assert not list(root.iter(f"{SVG}script"))
    words = [element for element in root.iter(f"{SVG}text") if element.find(f"{SVG}title") is not None]
    assert [element.find(f"{SVG}title").text for element in words][-1] == source.replace("/", "|")  # type: ignore[union-attr]
    assert all("…" in "".join(element.itertext()) for element in words)
    assert {"R<1>", "b&b", "Backup group g&h"} <= set(texts(picture))


@pytest.mark.parametrize("text", ["", "B1", "ein ziemlich langer Name", "漢字漢字漢字漢字", "WWWWWWWWWWWW", "…"])
@pytest.mark.parametrize("room", [12.0, 40.0, 200.0])
def test_what_is_made_to_fit_fits(text: str, room: float) -> None:
    shown = fit(text, room, 12.5)
    assert width(shown, 12.5) <= max(room, width("…", 12.5))
    assert shown == text or "…" in shown


def test_characters_that_xml_forbids_are_replaced() -> None:
    assert clean("a\x00b\x1bc\ud800d\ufffee\t\U0001f4fc") == "a\ufffdb\ufffdc\ufffdd\ufffde\t\U0001f4fc"


def test_each_chain_has_a_colour_of_its_own() -> None:
    assert len({colour(chain) for chain in range(300)}) == 300
