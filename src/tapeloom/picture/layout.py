"""Which box stands where.

Groups become columns, from what feeds to what is fed; an arrow that passes a column gets a lane between the boxes
there, so no arrow ever meets a box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from tapeloom.picture.arrange import order, panel_of, set_heights, uncross
from tapeloom.picture.geometry import (
    BUFFER_ROOM,
    BUFFER_SIZE,
    DRIVE_ROOM,
    FEED_ROOM,
    GROUP_SIZE,
    INSET,
    LABEL_SIZE,
    NAME_ROOM,
    NAME_SIZE,
    PANEL_FOOT,
    PANEL_GAP,
    PANEL_HEAD,
    PANEL_SIDE,
    REEL,
    TICKS,
    WIRE,
    Box,
    Column,
    Item,
    Lane,
    Layout,
    Link,
    Panel,
)
from tapeloom.picture.lettering import width
from tapeloom.plan import Stage, trees
from tapeloom.schedule import Schedule

if TYPE_CHECKING:
    from tapeloom.config import Config

K = TypeVar("K", bound=Hashable)


def lay_out(config: Config, schedule: Schedule) -> Layout:
    """The whole picture's geometry, with (0, 0) where the first panel begins."""
    chains = trees(config, schedule)
    boxes = _boxes(config, schedule, chains)
    _choose_columns(boxes, chains)
    lanes, links = _route(boxes, chains)
    columns = [Column() for _ in range(1 + max(box.column for box in boxes.values()))]
    panels = order(columns, list(boxes.values()), lanes, links)
    uncross(columns, links)
    set_heights(columns, links)
    height = _set_panels(columns, panels)
    feed_width, total = _set_widths(columns, links)
    return Layout(list(boxes.values()), lanes, links, columns, panels, feed_width, total, height)


def _boxes(config: Config, schedule: Schedule, chains: Sequence[Sequence[Stage]]) -> dict[str, Box]:
    chain_of = {(stage.agent, stage.buffer): row for row, stages in enumerate(chains) for stage in stages}
    agents = {stage.agent: stage for stages in chains for stage in stages}
    boxes = {}
    for name, agent in config.agents.items():
        if name not in agents:
            continue
        buffers = [buffer for buffer in agent.buffers if (name, buffer) in chain_of]
        first = agent.kind in ("backup", "restore")
        feeds = [", ".join(agent.buffers[buffer]) if first else "" for buffer in buffers]
        rows = [chain_of[name, buffer] for buffer in buffers]
        boxes[name] = Box(name, agent.kind, agent.group, agent.drive, buffers, rows, feeds)
    return boxes


def _couplings(chains: Sequence[Sequence[Stage]]) -> Iterable[tuple[int, Stage, Stage]]:
    for row, stages in enumerate(chains):
        for stage in stages:
            if stage.upstream is not None:
                yield row, stages[stage.upstream], stage


def _choose_columns(boxes: dict[str, Box], chains: Sequence[Sequence[Stage]]) -> None:
    """A group stands in one column, unless its agents feed one another."""
    pairs = [(above, below) for _, above, below in _couplings(chains)]
    by_group = _levels(
        [(box.kind, box.group) for box in boxes.values()],
        [((above.kind, above.group), (below.kind, below.group)) for above, below in pairs],
    )
    if by_group is not None:
        for box in boxes.values():
            box.column = by_group[box.kind, box.group]
        return
    by_agent = _levels(list(boxes), [(above.agent, below.agent) for above, below in pairs])
    assert by_agent is not None, "the compiler lets no media agent feed itself"
    for box in boxes.values():
        box.column = by_agent[box.name]


def _levels(nodes: Iterable[K], edges: Iterable[tuple[K, K]]) -> dict[K, int] | None:
    """Length of the longest way to each node, or None if there is a circle."""
    levels = dict.fromkeys(nodes, 0)
    below: defaultdict[K, list[K]] = defaultdict(list)
    missing = dict.fromkeys(levels, 0)
    for tail, head in edges:
        below[tail].append(head)
        missing[head] += 1
    ready = [node for node in levels if not missing[node]]
    for node in ready:
        for head in below[node]:
            levels[head] = max(levels[head], levels[node] + 1)
            missing[head] -= 1
            if not missing[head]:
                ready.append(head)
    return levels if len(ready) == len(levels) else None


def _route(boxes: dict[str, Box], chains: Sequence[Sequence[Stage]]) -> tuple[list[Lane], list[Link]]:
    """Arrows in pieces from column to column. Arrows from the same buffer share their lanes."""
    lanes: dict[tuple[str, str, int], Lane] = {}
    links: list[Link] = []
    for row, above, below in _couplings(chains):
        tail: Item = boxes[above.agent]
        tail_port = boxes[above.agent].buffers.index(above.buffer)
        head = boxes[below.agent]
        for column in range(tail.column + 1, head.column):
            key = (above.agent, above.buffer, column)
            if key not in lanes:
                lanes[key] = Lane(row, column)
                links.append(Link(row, tail, tail_port, lanes[key], 0))
            tail, tail_port = lanes[key], 0
        links.append(Link(row, tail, tail_port, head, head.buffers.index(below.buffer)))
    return list(lanes.values()), links


def _set_panels(columns: list[Column], panels: list[Panel]) -> float:
    """Move everything below 0 and give each column's height to its groups. The height of all."""
    items = [item for column in columns for item in column.items]
    up = min(item.top for item in items) - PANEL_HEAD
    for item in items:
        item.top -= up
    height = max(item.top + item.height for item in items) + PANEL_FOOT
    for panel in panels:
        boxes = [item for item in columns[panel.column].items if panel_of(item) == (panel.kind, panel.name)]
        panel.top = boxes[0].top - PANEL_HEAD
        panel.bottom = boxes[-1].top + boxes[-1].height + PANEL_FOOT
    for number in range(len(columns)):
        stacked = [panel for panel in panels if panel.column == number]
        stacked[0].top, stacked[-1].bottom = 0.0, height
        for above, below in pairwise(stacked):
            above.bottom = below.top - PANEL_GAP
    return height


def feed_space(box: Box) -> float:
    """Room between a restore media agent and its drive, where the names of the objects stand."""
    return 44.0 + max(min(FEED_ROOM, width(feed, LABEL_SIZE)) for feed in box.feeds)


def pool_space(box: Box) -> float:
    """Room beside an agent's name for the slots of its pool, and a gap."""
    return TICKS + 6.0 if box.kind == "restore" else 0.0


def drive_space(box: Box) -> float:
    """Room for a drive's symbol and its name beside it."""
    return REEL + 8.0 + min(DRIVE_ROOM, width(box.drive, LABEL_SIZE))


def _set_widths(columns: list[Column], links: list[Link]) -> tuple[float, float]:
    """Left to right. Gutters are wider where arrows have far to go."""
    left = 0.0
    feed_width = 0.0
    for number, column in enumerate(columns):
        boxes = [item for item in column.items if isinstance(item, Box)]
        readers = [box for box in boxes if box.kind == "restore"]
        writers = [box for box in boxes if box.kind != "restore"]
        names = (
            max(min(NAME_ROOM, width(box.name, NAME_SIZE, bold=True)) + pool_space(box) for box in boxes) + 2 * INSET
        )
        buffers = max(min(BUFFER_ROOM, width(name, BUFFER_SIZE)) for box in boxes for name in box.buffers)
        title = max(width(title_of(box.kind, box.group), GROUP_SIZE, bold=True) for box in boxes)
        column.left = left
        column.box = left + PANEL_SIDE + max([0.0, *(drive_space(box) + feed_space(box) for box in readers)])
        column.box_width = max(112.0, names, buffers + TICKS + 20.0 + 2 * INSET)
        column.right = column.box + column.box_width + PANEL_SIDE
        column.right += max([0.0, *(WIRE + drive_space(box) for box in writers)])
        column.right = max(column.right, left + 2 * PANEL_SIDE + min(title, 2 * NAME_ROOM))
        if number == 0:
            feeds = [feed for box in writers for feed in box.feeds]
            feed_width = max([0.0, *(min(FEED_ROOM, width(feed, LABEL_SIZE)) + 34.0 for feed in feeds)])
        steep = max([0.0, *(abs(k.tail_y - k.head_y) for k in links if k.tail.column == number)])
        left = column.right + min(190.0, 64.0 + steep / 8)
    return feed_width, columns[-1].right


def title_of(kind: str, group: str) -> str:
    return f"{kind.capitalize()} group {group}"
