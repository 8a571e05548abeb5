"""The SVG of a schedule."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tapeloom.picture import geometry
from tapeloom.picture.geometry import Box, Column, Lane, Layout, Panel
from tapeloom.picture.layout import feed_space, lay_out, title_of
from tapeloom.picture.lettering import FONTS, attribute, content, fit, width
from tapeloom.quantity import rough_size
from tapeloom.schedule import Schedule

if TYPE_CHECKING:
    from tapeloom.config import Config

MARGIN = 36.0
TITLE_HEIGHT = 72.0
LEGEND_HEIGHT = 56.0
ARROW = 8.0

INK = "#1f2933"
QUIET = "#66727f"
EDGE = "#c3cad2"
PANEL_FILL = "#f5f7f9"
PANEL_EDGE = "#e1e6eb"
HEAD_FILL = "#eceff3"

COLOURS = (
    "#2f6690",
    "#b8741a",
    "#3c7d5b",
    "#a5473d",
    "#6a5a99",
    "#2b8a8f",
    "#8a7a24",
    "#96477a",
    "#4d6a9f",
    "#7d5a40",
)
_GOLDEN_ANGLE = 0.381966


def colour(chain: int) -> str:
    """One colour for each chain: a few chosen ones, then hues that keep away from one another."""
    if chain < len(COLOURS):
        return COLOURS[chain]
    hue = (chain * _GOLDEN_ANGLE) % 1
    lightness = (0.36, 0.44, 0.40)[chain % 3]
    return _hex(*colorsys.hls_to_rgb(hue, lightness, 0.42))


def _tint(shade: str) -> str:
    """The colour, nearly white."""
    return _hex(*(1 - (1 - int(shade[at : at + 2], 16) / 255) * 0.13 for at in (1, 3, 5)))


def _hex(*parts: float) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in parts)


def svg(config: Config, schedule: Schedule) -> str:
    """The picture as one SVG document, ending with a line feed. The same schedule gives the same bytes."""
    return "\n".join(_document(config, schedule, lay_out(config, schedule))) + "\n"


def _n(number: float) -> str:
    """A length, to a tenth of a pixel."""
    return f"{number:.1f}".removesuffix(".0")


def _text(
    x: float,
    y: float,
    text: str,
    *,
    room: float,
    size: float,
    fill: str = INK,
    bold: bool = False,
    anchor: str = "start",
) -> str:
    shown = fit(text, room, size, bold)
    weight = ' font-weight="600"' if bold else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    # The whole name stays to be found where only part of it fits.
    whole = "" if shown == text else f"<title>{content(text)}</title>"
    style = f'font-size="{_n(size)}"{weight}{place} fill="{fill}"'
    return f'<text x="{_n(x)}" y="{_n(y)}" {style}>{whole}{content(shown)}</text>'


def _rect(x: float, y: float, w: float, h: float, radius: float, fill: str, stroke: str | None = None) -> str:
    edge = f' stroke="{stroke}"' if stroke else ""
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" rx="{_n(radius)}" fill="{fill}"{edge}/>'


def _document(config: Config, schedule: Schedule, plan: Layout) -> Iterator[str]:
    title = f"{config.file.name}: {_starting(plan)}"
    numbers = [
        _count(schedule.chains, "chain"),
        _count(len(plan.boxes), "media agent"),
        f"{schedule.slots} slots of {rough_size(schedule.slot_bytes)}",
    ]
    wide = max(plan.feed_width + plan.width, 880.0 if _has_pools(plan) else 620.0) + 2 * MARGIN
    high = TITLE_HEIGHT + plan.height + LEGEND_HEIGHT + MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(wide)} {_n(high)}" '
        f'width="{_n(wide)}" height="{_n(high)}" '
        f'role="img" aria-labelledby="title description" font-family={attribute(FONTS)}>'
    )
    yield f'<title id="title">{content(title)}</title>'
    yield f'<desc id="description">{content(_description(plan))}</desc>'
    yield _rect(0, 0, wide, high, 0, "#ffffff")
    yield _text(MARGIN, 40, title, room=wide - 2 * MARGIN, size=19, bold=True)
    yield _text(MARGIN, 60, "  ·  ".join(numbers), room=wide - 2 * MARGIN, size=12.5, fill=QUIET)
    yield f'<g transform="translate({_n(MARGIN + plan.feed_width)} {_n(TITLE_HEIGHT + 8)})">'
    for panel in plan.panels:
        yield from _panel(panel, plan.columns[panel.column])
    for lane in plan.lanes:
        yield _lane(lane, plan.columns[lane.column])
    for box in plan.boxes:
        yield from _box(box, plan.columns[box.column])
    yield from _links(plan)
    for box in plan.boxes:
        yield from _feeds(box, plan.columns[box.column])
    yield "</g>"
    yield from _legend(MARGIN, TITLE_HEIGHT + 8 + plan.height + 36, _has_pools(plan))
    yield "</svg>"


def _has_pools(plan: Layout) -> bool:
    return any(box.kind == "restore" for box in plan.boxes)


def _starting(plan: Layout) -> str:
    """What the job begins with: `backup groups nightly, weekly`."""
    names: dict[str, list[str]] = {}
    for panel in plan.panels:
        if panel.column == 0:
            names.setdefault(panel.kind, []).append(panel.name)
    return ", ".join(f"{kind} group{'s' * (len(of) > 1)} {', '.join(of)}" for kind, of in names.items())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _description(plan: Layout) -> str:
    """The picture in words, for those who cannot see it."""
    agents = [
        f"{box.name} of {box.kind} group {box.group} "
        f"{'reads' if box.kind == 'restore' else 'writes'} drive {box.drive}, buffers {', '.join(box.buffers)}"
        for box in plan.boxes
    ]
    return ". ".join(agents) + "."


def _panel(panel: Panel, column: Column) -> Iterator[str]:
    wide = column.right - column.left
    yield _rect(column.left, panel.top, wide, panel.bottom - panel.top, 12, PANEL_FILL, PANEL_EDGE)
    title = title_of(panel.kind, panel.name)
    room = wide - 2 * geometry.PANEL_SIDE
    yield _text(
        column.left + geometry.PANEL_SIDE,
        panel.top + 28,
        title,
        room=room,
        size=geometry.GROUP_SIZE,
        fill=QUIET,
        bold=True,
    )


def _box(box: Box, column: Column) -> Iterator[str]:
    left, wide, inset = column.box, column.box_width, geometry.INSET
    yield f"<g><title>{content(f'{box.name}, drive {box.drive}')}</title>"
    yield _rect(left, box.top, wide, box.height, 8, "#ffffff", EDGE)
    head = geometry.HEAD - 9
    yield (
        f'<path d="M{_n(left + 0.5)} {_n(box.top + head)}v{_n(8 - head)}a7.5 7.5 0 0 1 7.5 -7.5h{_n(wide - 16)}'
        f'a7.5 7.5 0 0 1 7.5 7.5v{_n(head - 8)}z" fill="{HEAD_FILL}"/>'
    )
    room = wide - 2 * inset - (geometry.TICKS if box.kind == "restore" else 0)
    yield _text(left + inset, box.top + 20.5, box.name, room=room, size=geometry.NAME_SIZE, bold=True)
    if box.kind == "restore":
        yield _slots(left + wide - inset - geometry.TICKS + 4, box.top + head / 2, QUIET)
    for number, (buffer, chain) in enumerate(zip(box.buffers, box.chains, strict=True)):
        middle = box.top + box.port(number)
        yield from _buffer(left + inset, middle, wide - 2 * inset, buffer, colour(chain))
    yield "</g>"
    yield from _drive(box, column)


def _buffer(left: float, middle: float, wide: float, name: str, shade: str) -> Iterator[str]:
    """A buffer, with a few of its slots."""
    high = geometry.ROW_BOX
    yield _rect(left, middle - high / 2, wide, high, 5, _tint(shade), shade)
    room = wide - geometry.TICKS - 14
    yield _text(left + 10, middle + 4.5, name, room=room, size=geometry.BUFFER_SIZE)
    yield _slots(left + wide - geometry.TICKS + 4, middle, shade)


def _slots(left: float, middle: float, shade: str) -> str:
    ticks = "".join(f"M{_n(left + 7 * tick)} {_n(middle - 6)}v12" for tick in range(5))
    return f'<path d="{ticks}" stroke="{shade}" stroke-width="3.5" opacity="0.45"/>'


def _drive(box: Box, column: Column) -> Iterator[str]:
    """A recorder beside the head of its agent: two reels and the tape between them."""
    middle = box.top + (geometry.HEAD - 9) / 2
    reel = geometry.REEL
    room = geometry.DRIVE_ROOM
    if box.kind == "restore":
        right = column.box - feed_space(box)
        yield from _arrow_line(right, column.box, middle, QUIET, 1.5)
        left = right - reel
        yield _text(left - 8, middle + 4.5, box.drive, room=room, size=geometry.LABEL_SIZE, anchor="end")
    else:
        left = column.box + column.box_width + geometry.WIRE
        yield from _arrow_line(left - geometry.WIRE, left, middle, QUIET, 1.5)
        yield _text(left + reel + 8, middle + 4.5, box.drive, room=room, size=geometry.LABEL_SIZE)
    yield from _recorder(left, middle)


def _recorder(left: float, middle: float) -> Iterator[str]:
    """A reel, and the tape that runs off it."""
    radius = geometry.REEL / 2 - 1
    x = left + geometry.REEL / 2
    outline = f'fill="#ffffff" stroke="{QUIET}" stroke-width="1.5"'
    yield f'<circle cx="{_n(x)}" cy="{_n(middle)}" r="{_n(radius)}" {outline}/>'
    for across, down in ((0, -7.5), (6.5, 3.75), (-6.5, 3.75)):
        yield f'<circle cx="{_n(x + across)}" cy="{_n(middle + down)}" r="2.9" fill="{EDGE}"/>'
    yield f'<circle cx="{_n(x)}" cy="{_n(middle)}" r="2" fill="{QUIET}"/>'
    yield _line(f"M{_n(x)} {_n(middle + radius)}h{_n(radius + 5)}", QUIET, 1.5)


def _arrow_line(start: float, end: float, y: float, shade: str, weight: float = 2) -> Iterator[str]:
    yield _line(f"M{_n(start)} {_n(y)}H{_n(end - ARROW)}", shade, weight)
    yield _arrow_head(end, y, shade)


def _arrow_head(x: float, y: float, shade: str) -> str:
    return f'<path d="M{_n(x)} {_n(y)}l{_n(-ARROW)} -4.2v8.4z" fill="{shade}"/>'


def _line(way: str, shade: str, weight: float = 2) -> str:
    return f'<path d="{way}" fill="none" stroke="{shade}" stroke-width="{_n(weight)}"/>'


def _lane(lane: Lane, column: Column) -> str:
    return _line(f"M{_n(column.left)} {_n(lane.top + lane.port(0))}H{_n(column.right)}", colour(lane.chain))


def _links(plan: Layout) -> Iterator[str]:
    """Arrows: level inside the panels, curved only in the gutter between them, so they meet no box."""
    begun = set()
    for link in plan.links:
        tail, head = plan.columns[link.tail.column], plan.columns[link.head.column]
        shade, y, end_y = colour(link.chain), _n(link.tail_y), _n(link.head_y)
        if isinstance(link.tail, Box) and (link.tail.name, link.tail_port) not in begun:
            begun.add((link.tail.name, link.tail_port))
            yield _line(f"M{_n(tail.box + tail.box_width - geometry.INSET)} {y}H{_n(tail.right)}", shade)
        bend = (head.left - tail.right) * 0.55
        curve = f"C{_n(tail.right + bend)} {y} {_n(head.left - bend)} {end_y} {_n(head.left)} {end_y}"
        if isinstance(link.head, Box):
            end = head.box + geometry.INSET
            yield _line(f"M{_n(tail.right)} {y}{curve}H{_n(end - ARROW)}", shade)
            yield _arrow_head(end, link.head_y, shade)
        else:
            yield _line(f"M{_n(tail.right)} {y}{curve}", shade)


def _feeds(box: Box, column: Column) -> Iterator[str]:
    """Names of what feeds the buffers from outside, and lines to them."""
    end = column.box + geometry.INSET
    trunk = column.box - feed_space(box) - geometry.REEL / 2 if box.kind == "restore" else 0.0
    last = 0.0
    for number, (feed, chain) in enumerate(zip(box.feeds, box.chains, strict=True)):
        if not feed:
            continue
        y, shade = box.top + box.port(number), colour(chain)
        wide = min(geometry.FEED_ROOM, width(feed, geometry.LABEL_SIZE))
        if box.kind == "restore":
            x = column.box - 18 - wide
            yield _line(f"M{_n(trunk)} {_n(y)}H{_n(x - 6)}", shade)
            yield _text(column.box - 18, y + 4.5, feed, room=geometry.FEED_ROOM, size=geometry.LABEL_SIZE, anchor="end")
            yield from _arrow_line(column.box - 13, end, y, shade)
            last = y
        else:
            yield _text(
                column.left - 30, y + 4.5, feed, room=geometry.FEED_ROOM, size=geometry.LABEL_SIZE, anchor="end"
            )
            yield from _arrow_line(column.left - 24, end, y, shade)
    if box.kind == "restore":
        top = box.top + (geometry.HEAD - 9 + geometry.REEL) / 2
        yield _line(f"M{_n(trunk)} {_n(top)}V{_n(last)}", QUIET, 1.5)


def _legend(x: float, y: float, pools: bool) -> Iterator[str]:
    shade = COLOURS[0]
    yield f'<g transform="translate({_n(x)} {_n(y)})">'
    yield from _buffer(0, 0, 70, "B", shade)
    yield _text(80, 4.5, "buffer and its slots", room=150, size=12, fill=QUIET)
    yield from _arrow_line(238, 284, 0, shade)
    yield _text(294, 4.5, "chain: one colour, shared slots", room=220, size=12, fill=QUIET)
    yield from _recorder(508, 0)
    yield _text(548, 4.5, "drive", room=80, size=12, fill=QUIET)
    if pools:
        yield _slots(612, 0, QUIET)
        yield _text(656, 4.5, "pool: slots that a drive reads into", room=240, size=12, fill=QUIET)
    yield "</g>"
