"""Which box stands where.

Groups become columns, from what feeds to what is fed; an arrow that passes a column gets a lane between the boxes
there, so no arrow ever meets a box. Within a column boxes stand in the order in which the arrows arrive, and as near to
the height of what feeds them as they can without touching (least squares under an order: neighbours that would overlap
are pooled). All lengths are in pixels of the picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from tapeloom.picture.lettering import width
from tapeloom.plan import Stage, trees
from tapeloom.schedule import Schedule

if TYPE_CHECKING:
    from tapeloom.config import Config

NAME_SIZE = 14.0
BUFFER_SIZE = 12.5
LABEL_SIZE = 12.5
GROUP_SIZE = 12.5

HEAD = 40.0  # of an agent's box, above its buffers
ROW = 33.0  # one buffer and the space below it
ROW_BOX = 26.0
FOOT = 5.0
INSET = 11.0  # from a box's edge to its buffers
GAP = 26.0  # between boxes
LANE = 12.0
PANEL_HEAD = 46.0
PANEL_FOOT = 22.0
PANEL_GAP = 20.0
PANEL_SIDE = 26.0
REEL = 30.0  # a drive's symbol
WIRE = 26.0  # between a box and its drive
NAME_ROOM = 190.0
BUFFER_ROOM = 150.0
DRIVE_ROOM = 130.0
FEED_ROOM = 190.0
TICKS = 40.0  # the slots in a buffer's symbol

UNCROSS_ROUNDS = 8

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True, eq=False)
class Box:
    """One media agent. Ports are its buffers, by number."""

    name: str
    kind: str
    group: str
    drive: str
    buffers: list[str]
    chains: list[int]
    feeds: list[str]
    """What feeds each buffer from outside: names of sources or objects, or nothing."""
    column: int = 0
    top: float = 0.0

    @property
    def height(self) -> float:
        return HEAD + ROW * len(self.buffers) + FOOT

    @property
    def ports(self) -> int:
        return len(self.buffers)

    def port(self, number: int) -> float:
        """From the top of the box to the middle of a buffer."""
        return HEAD + ROW * number + ROW_BOX / 2


@dataclass(slots=True, eq=False)
class Lane:
    """Where an arrow passes a column. `box` and `port` are the buffer that it comes from."""

    chain: int
    column: int
    top: float = 0.0
    height: float = LANE
    ports: int = 1

    def port(self, number: int) -> float:
        return LANE / 2


Item = Box | Lane


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow, or the part of one, between two neighbouring columns."""

    chain: int
    tail: Item
    tail_port: int
    head: Item
    head_port: int

    @property
    def tail_y(self) -> float:
        return self.tail.top + self.tail.port(self.tail_port)

    @property
    def head_y(self) -> float:
        return self.head.top + self.head.port(self.head_port)


@dataclass(slots=True)
class Panel:
    """A group, or the part of it that stands in one column."""

    kind: str
    name: str
    column: int
    top: float = 0.0
    bottom: float = 0.0


@dataclass(slots=True)
class Column:
    """`left` to `right` is the panel; boxes stand from `box` on, and are `box_width` wide."""

    items: list[Item] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0
    box: float = 0.0
    box_width: float = 0.0


@dataclass(slots=True)
class Layout:
    boxes: list[Box]
    lanes: list[Lane]
    links: list[Link]
    columns: list[Column]
    panels: list[Panel]
    feed_width: float
    """Room for names of sources left of the first column."""
    width: float
    height: float


def lay_out(config: Config, schedule: Schedule) -> Layout:
    """The whole picture's geometry, with (0, 0) where the first panel begins."""
    chains = trees(config, schedule)
    boxes = _boxes(config, schedule, chains)
    _choose_columns(boxes, chains)
    lanes, links = _route(boxes, chains)
    columns = [Column() for _ in range(1 + max(box.column for box in boxes.values()))]
    panels = _order(columns, list(boxes.values()), lanes, links)
    _uncross(columns, links)
    _set_heights(columns, links)
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


def _order(columns: list[Column], boxes: list[Box], lanes: list[Lane], links: list[Link]) -> list[Panel]:
    """Fill the columns from top to bottom. Groups stay together; the first column keeps the order of the file."""
    arriving: defaultdict[int, list[Link]] = defaultdict(list)
    for link in links:
        arriving[id(link.head)].append(link)
    panels = []
    place: dict[int, float] = {}

    def middle(item: Item) -> float:
        places = [
            place[id(link.tail)] + (link.tail_port + 1) / (link.tail.ports + 1) - (link.head_port + 1) / 1e4
            for link in arriving[id(item)]
        ]
        return sum(places) / len(places) if places else 0.0

    for number, column in enumerate(columns):
        groups: defaultdict[tuple[str, str], list[Box]] = defaultdict(list)
        for box in boxes:
            if box.column == number:
                groups[box.kind, box.group].append(box)
        keys = sorted(groups, key=lambda key: sum(map(middle, groups[key])) / len(groups[key]))
        for key in keys:
            panels.append(Panel(*key, column=number))
            column.items += sorted(groups[key], key=middle)
        for lane in sorted((lane for lane in lanes if lane.column == number), key=middle):
            _insert(column.items, lane, [middle(item) for item in column.items], middle(lane))
        place.update((id(item), float(row)) for row, item in enumerate(column.items))
    return panels


def _insert(items: list[Item], lane: Lane, middles: list[float], middle: float) -> None:
    """Where the lane crosses the fewest others."""
    crossed = [
        sum(other > middle for other in middles[:row]) + sum(other < middle for other in middles[row:])
        for row in range(len(items) + 1)
    ]
    items.insert(crossed.index(min(crossed)), lane)


def _uncross(columns: list[Column], links: list[Link]) -> None:
    """Exchange neighbours as long as that saves crossings, within their group."""
    into: defaultdict[int, list[Link]] = defaultdict(list)
    out_of: defaultdict[int, list[Link]] = defaultdict(list)
    for link in links:
        into[id(link.head)].append(link)
        out_of[id(link.tail)].append(link)
    row_of = {id(item): row for column in columns for row, item in enumerate(column.items)}

    def far_ends(item: Item) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        return (
            [(row_of[id(link.tail)], link.tail_port) for link in into[id(item)]],
            [(row_of[id(link.head)], link.head_port) for link in out_of[id(item)]],
        )

    def crossings(above: Item, below: Item) -> int:
        return sum(a > b for one, other in zip(far_ends(above), far_ends(below), strict=True) for a in one for b in other)

    for _ in range(UNCROSS_ROUNDS):
        before = dict(row_of)
        for column in columns[1:]:
            for row, (above, below) in enumerate(pairwise(list(column.items))):
                above = column.items[row]
                bound = isinstance(above, Box) and isinstance(below, Box) and _panel_of(above) != _panel_of(below)
                if not bound and crossings(above, below) > crossings(below, above):
                    column.items[row : row + 2] = [below, above]
                    row_of[id(above)], row_of[id(below)] = row + 1, row
        if row_of == before:
            return


def _panel_of(item: Item) -> tuple[str, str] | None:
    return (item.kind, item.group) if isinstance(item, Box) else None


def _space(above: Item, below: Item, last_panel: tuple[str, str] | None) -> float:
    panel = _panel_of(below)
    if panel is not None and last_panel is not None and panel != last_panel:
        return PANEL_FOOT + PANEL_GAP + PANEL_HEAD
    return GAP if isinstance(above, Box) or isinstance(below, Box) else LANE


def _stacked(column: Column) -> list[float]:
    """Tops of the items if they stand as close as they may."""
    tops: list[float] = []
    top, last_panel = 0.0, None
    for row, item in enumerate(column.items):
        if row:
            top += column.items[row - 1].height + _space(column.items[row - 1], item, last_panel)
        last_panel = _panel_of(item) or last_panel
        tops.append(top)
    return tops


def _set_heights(columns: list[Column], links: list[Link]) -> None:
    """The fullest column first, then its neighbours, outwards; then all once more, looking both ways."""
    stacks = [_stacked(column) for column in columns]
    fullest = max(range(len(columns)), key=lambda c: stacks[c][-1] + columns[c].items[-1].height)
    for column, stack in zip(columns, stacks, strict=True):
        for item, top in zip(column.items, stack, strict=True):
            item.top = top
    into: defaultdict[int, list[Link]] = defaultdict(list)
    out_of: defaultdict[int, list[Link]] = defaultdict(list)
    for link in links:
        into[id(link.head)].append(link)
        out_of[id(link.tail)].append(link)

    def pull(number: int, forth: bool, back: bool) -> None:
        wishes = []
        for item in columns[number].items:
            near = [link.tail_y - link.head.port(link.head_port) for link in into[id(item)] if forth]
            near += [link.head_y - link.tail.port(link.tail_port) for link in out_of[id(item)] if back]
            wishes.append((sum(near) / len(near), len(near)) if near else None)
        for item, top in zip(columns[number].items, _settle(stacks[number], wishes), strict=True):
            item.top = top

    for number in range(fullest + 1, len(columns)):
        pull(number, forth=True, back=False)
    for number in range(fullest - 1, -1, -1):
        pull(number, forth=False, back=True)
    for number in [*range(fullest - 1, -1, -1), *range(fullest + 1, len(columns))]:
        pull(number, forth=True, back=True)


def _settle(stack: list[float], wishes: list[tuple[float, int] | None]) -> list[float]:
    """Tops as near to the wishes as can be, with at least the distances of the stack between them."""
    pools: list[tuple[float, int, int]] = []  # shift against the stack, weight, items
    for top, wish in zip(stack, wishes, strict=True):
        # An item without a wish goes with the one above it.
        shift, weight = (wish[0] - top, wish[1]) if wish else (pools[-1][0] if pools else 0.0, 0)
        items = 1
        while pools and (pools[-1][0] >= shift or pools[-1][1] == 0):
            other, other_weight, other_items = pools.pop()
            total = weight + other_weight
            shift = (shift * weight + other * other_weight) / total if total else shift
            weight, items = total, items + other_items
        pools.append((shift, weight, items))
    shifts = [shift for shift, _, items in pools for _ in range(items)]
    return [top + shift for top, shift in zip(stack, shifts, strict=True)]


def _set_panels(columns: list[Column], panels: list[Panel]) -> float:
    """Move everything below 0 and give each column's height to its groups. The height of all."""
    items = [item for column in columns for item in column.items]
    up = min(item.top for item in items) - PANEL_HEAD
    for item in items:
        item.top -= up
    height = max(item.top + item.height for item in items) + PANEL_FOOT
    for panel in panels:
        boxes = [item for item in columns[panel.column].items if _panel_of(item) == (panel.kind, panel.name)]
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
        names = max(min(NAME_ROOM, width(box.name, NAME_SIZE, bold=True)) for box in boxes) + 2 * INSET
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
