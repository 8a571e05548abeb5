"""Random jobs that are right, as TOML, and what has to become of them, found without the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st


@dataclass
class Topology:
    """`reaches` holds the sources that each drive must get, `streams` what feeds each stream, in order."""

    text: str
    reaches: dict[str, set[str]] = field(default_factory=dict)
    streams: list[tuple[str, ...]] = field(default_factory=list)
    digests: int = 0
    producers: int = 0
    buffers: int = 0


def make(chance: Random, agents: int, buffers: int, depth: int, width: int, block_kib: int = 16) -> Topology:
    """Backup agents with buffers, and mirror groups of `width` agents below them, fed by whatever stands above."""
    made = Topology("")
    drives: list[str] = []
    sources: list[str] = []
    body: list[str] = []
    above: list[tuple[str, int]] = []  # buffers that may feed what follows, each with its stream

    def agent(kind: str, group: str, name: str, chosen: dict[str, str], streams: list[int]) -> None:
        drive = f"R{len(drives)}"
        rate = f', rate = "{chance.randint(50, 400)}MB/s"' if chance.random() < 0.5 else ""
        drives.append(f'{drive} = {{ device = "null:"{rate} }}')
        body.append(f'[{kind}.{group}.{name}]\ndrive = "{drive}"')
        body.append(f"buffers = {{ {', '.join(f'{key} = {value}' for key, value in chosen.items())} }}\n")
        made.reaches[drive] = {source for stream in streams for source in made.streams[stream]}
        made.buffers += len(streams)

    for number in range(agents):
        chosen: dict[str, str] = {}
        streams = []
        for buffer in range(chance.randint(1, buffers)):
            feeds = []
            produced = chance.random() < 0.1
            way = "producer = true" if produced else 'path = "data"'
            digest = ', digest = "sha256"' if chance.random() < 0.2 else ""
            for _ in range(1 if produced else chance.randint(1, 3)):
                feeds.append(f"D{len(sources)}")
                sources.append(f"{feeds[-1]} = {{ {way}{digest} }}")
            made.digests += bool(digest)
            made.producers += produced
            streams.append(len(made.streams))
            made.streams.append(tuple(feeds))
            chosen[f"B{buffer}"] = str(feeds).replace("'", '"')
        agent("backup", "nightly", f"A0-{number}", chosen, streams)
        above += [(f"A0-{number}.{buffer}", stream) for buffer, stream in zip(chosen, streams, strict=True)]
    for stage in range(1, depth):
        level: list[tuple[str, int]] = []
        for number in range(width):
            name = f"A{stage}-{number}"
            taken = {stream: feed for feed, stream in chance.sample(above, min(len(above), chance.randint(1, buffers)))}
            chosen = {f"M{row}": f'"{feed}"' for row, feed in enumerate(taken.values())}
            agent("mirror", f"m{stage}", name, chosen, list(taken))
            level += [(f"{name}.{buffer}", stream) for buffer, stream in zip(chosen, taken, strict=True)]
        # Mostly from the stage before, sometimes over several stages.
        above = level + chance.sample(above, len(above) // 3)
    slots = 2 * (len(made.streams) + made.producers) + chance.randint(0, 400)
    server = ["[server]", f'block = "{block_kib}KiB"', f'memory = "{slots * block_kib}KiB"']
    made.text = "\n".join([*server, "[drives]", *drives, "[sources]", *sources, *body])
    return made


topologies = st.builds(
    make,
    chance=st.randoms(use_true_random=False),
    agents=st.integers(1, 6),
    buffers=st.integers(1, 8),
    depth=st.integers(1, 8),
    width=st.integers(1, 6),
)
