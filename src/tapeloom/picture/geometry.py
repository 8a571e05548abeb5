"""What the picture is made of, and its measures. All lengths are in pixels of the picture."""

from __future__ import annotations

from msgspec import Struct, field

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
NAME_ROOM = 230.0
BUFFER_ROOM = 150.0
DRIVE_ROOM = 170.0
FEED_ROOM = 240.0
TICKS = 40.0  # the slots in a buffer's symbol


class Box(Struct, eq=False):
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


class Lane(Struct, eq=False):
    """Where an arrow passes a column."""

    chain: int
    column: int
    top: float = 0.0
    height: float = LANE
    ports: int = 1

    def port(self, number: int) -> float:
        return LANE / 2


Item = Box | Lane


class Link(Struct, frozen=True):
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


class Panel(Struct):
    """A group, or the part of it that stands in one column."""

    kind: str
    name: str
    column: int
    top: float = 0.0
    bottom: float = 0.0


class Column(Struct):
    """`left` to `right` is the panel; boxes stand from `box` on, and are `box_width` wide."""

    items: list[Item] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0
    box: float = 0.0
    box_width: float = 0.0


class Layout(Struct):
    boxes: list[Box]
    lanes: list[Lane]
    links: list[Link]
    columns: list[Column]
    panels: list[Panel]
    feed_width: float
    """Room for names of sources left of the first column."""
    width: float
    height: float
