"""A catalog with one job on one volume, and shorthand for what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from tapeloom.catalog import Catalog, Outcome, Place
from tapeloom.ident import new_id
from tapeloom.volume import runs

AS_OF = 1_700_000_000_123_456_789
AGENT = "BMA124"
PLACE = Place(AGENT, "nightly", "R1")
LABEL_END = 4


@dataclass
class World:
    state: Path
    catalog: Catalog
    job: UUID = field(default_factory=new_id)
    volume: UUID = field(default_factory=new_id)
    position: int = LABEL_END

    def begin(self) -> World:
        self.catalog.begin_job(self.job, kind="backup", groups=["nightly"], started_at=AS_OF)
        self.catalog.add_volume(self.volume, label="R1-0001", drive="R1", cartridge="R1-0001", block_bytes=524288)
        self.catalog.labelled(self.volume, LABEL_END)
        self.catalog.append_begins(self.job, AGENT, self.volume, LABEL_END)
        return self

    def add(self, source: str = "D1", *, as_of: int = AS_OF, places: tuple[Place, ...] = (PLACE,)) -> UUID:
        id = new_id()
        self.catalog.add_object(id, source=source, job=self.job, as_of=as_of, content=1, copies=places)
        return id

    def end(self, id: UUID, blocks: int, outcome: Outcome = Outcome.WHOLE) -> None:
        self.catalog.object_ended(id, outcome=outcome, blocks=blocks, bytes=blocks * 1000, files=blocks)

    def write(self, *parts: tuple[UUID, int, int], agent: str = AGENT) -> None:
        """Blocks `first` to `last` of each object, behind one another, and a filemark with its receipt."""
        by_object: dict[UUID, list[tuple[int, int, int, int]]] = {}
        for id, first, last in parts:
            by_object.setdefault(id, []).append((0, first, last - first + 1, self.position))
            self.position += last - first + 1
        self.catalog.receipt(
            job=self.job,
            agent=agent,
            volume=self.volume,
            filemark=self.position,
            runs={id: runs.table(rows) for id, rows in by_object.items()},
        )
        self.position += 1

    def reopen(self) -> World:
        self.catalog.close()
        self.catalog = Catalog.open(self.state)
        return self
