"""In which order, and how high, things stand in their columns.

Boxes stand in the order in which arrows arrive, neighbours change places where that saves crossings, and each box is
as near to the height of what it is coupled to as it can be without touching another: least squares under an order,
solved by pooling neighbours that would overlap.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from tapeloom.picture.geometry import (
    GAP,
    LANE,
    PANEL_FOOT,
    PANEL_GAP,
    PANEL_HEAD,
    Box,
    Column,
    Item,
    Lane,
    Link,
    Panel,
)

UNCROSS_ROUNDS = 8


def order(columns: list[Column], boxes: list[Box], lanes: list[Lane], links: list[Link]) -> list[Panel]:
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


def uncross(columns: list[Column], links: list[Link]) -> None:
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
        return sum(
            a > b for one, other in zip(far_ends(above), far_ends(below), strict=True) for a in one for b in other
        )

    for _ in range(UNCROSS_ROUNDS):
        before = dict(row_of)
        for column in columns[1:]:
            for row, (above, below) in enumerate(pairwise(list(column.items))):
                above = column.items[row]
                bound = isinstance(above, Box) and isinstance(below, Box) and panel_of(above) != panel_of(below)
                if not bound and crossings(above, below) > crossings(below, above):
                    column.items[row : row + 2] = [below, above]
                    row_of[id(above)], row_of[id(below)] = row + 1, row
        if row_of == before:
            return


def panel_of(item: Item) -> tuple[str, str] | None:
    return (item.kind, item.group) if isinstance(item, Box) else None


def _space(above: Item, below: Item, last_panel: tuple[str, str] | None) -> float:
    panel = panel_of(below)
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
        last_panel = panel_of(item) or last_panel
        tops.append(top)
    return tops


def set_heights(columns: list[Column], links: list[Link]) -> None:
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
