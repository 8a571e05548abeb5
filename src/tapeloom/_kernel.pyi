import builtins
from enum import IntEnum

import numpy as np
from msgspec import Struct
from typing_extensions import Buffer

FOREVER: int
STREAM_PLAN: np.dtype[np.void]
CURSOR_PLAN: np.dtype[np.void]
AGENT_PLAN: np.dtype[np.void]
RUN: np.dtype[np.void]
FAULT: np.dtype[np.void]
WANT: np.dtype[np.void]

class Stop(IntEnum):
    RUN = 0
    IN_ORDER = 1
    NOW = 2

class TurnReason(IntEnum):
    ENDED = 0
    CHECKPOINT = 1
    EARLY_WARNING = 2
    END_OF_MEDIUM = 3
    FAILED = 4
    DETACHED = 5
    STOPPED = 6

class SplitReason(IntEnum):
    DONE = 0
    FILEMARK = 1
    END_OF_DATA = 2
    FAILED = 3
    STOPPED = 4
    FAULTS_FULL = 5
    NO_READERS = 6
    RECORD = 7

class Verdict(IntEnum):
    OK = 0
    FOREIGN = 1
    HEADER = 2
    VERSION_NEW = 3
    PAYLOAD = 4
    MISPLACED = 101

def crc32c_names() -> list[str]: ...
def crc32c(data: Buffer, crc: int = 0, name: str | None = None) -> int: ...
def check_block(block: Buffer) -> Verdict: ...
def control_bytes(
    slot_bytes: int, slots_common: int, streams: np.ndarray, cursors: np.ndarray, agents: np.ndarray
) -> int: ...
def arena_bytes(
    slot_bytes: int, slots_common: int, streams: np.ndarray, cursors: np.ndarray, agents: np.ndarray
) -> int: ...

class Arena:
    def __init__(
        self,
        fd: int,
        slot_bytes: int,
        slots_common: int,
        streams: np.ndarray,
        cursors: np.ndarray,
        agents: np.ndarray,
    ) -> None: ...
    @property
    def slot_bytes(self) -> int: ...
    @property
    def fd(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def mapped_bytes(self) -> int: ...
    @property
    def stopping(self) -> Stop: ...
    def stop(self, how: Stop) -> None: ...
    def give_back(self) -> None: ...
    def detach(self, agent: int) -> None: ...
    def hand_over(self, giver: int, taker: int) -> None: ...
    def end_stream(self, stream: int) -> None: ...
    def stream_statistics(self, i: int) -> StreamStatistics: ...
    def cursor_statistics(self, i: int) -> CursorStatistics: ...
    def agent_statistics(self, i: int) -> AgentStatistics: ...
    def lacks(self, agent: int) -> list[tuple[int, int | None]]: ...

class StreamStatistics(Struct, frozen=True):
    blocks: int
    bytes: int
    head: int
    ended: bool
    attached: int
    held: int
    stalls: int
    stall_ns: int
    waiting_since_ns: int

class CursorStatistics(Struct, frozen=True):
    claimed: int
    released: int
    detached: bool

class AgentStatistics(Struct, frozen=True):
    blocks: int
    bytes: int
    calls: int
    runs: int
    short_runs: int
    sleeps: int
    sleep_ns: int
    device_ns: int
    starvations: int
    in_call_since_ns: int
    starving_since_ns: int
    detached: bool

class Feeder:
    def __init__(self, arena: Arena, stream: int) -> None: ...
    def begin(
        self,
        *,
        object_id: bytes,
        number: int,
        name: bytes,
        as_of_ns: int,
        parent: bytes = ...,
        level: int = 0,
        content: int = 0,
        header_bytes: int = 512,
        key_id: bytes = ...,
        wrapped_key: bytes = ...,
    ) -> None: ...
    @property
    def blocks(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def stopping(self) -> bool: ...
    def write(self, data: Buffer) -> None: ...
    def zeros(self, bytes: int) -> None: ...
    def pump(self, fd: int, offset: int, bytes: int) -> tuple[int, int]: ...
    def pump_pipe(self, fd: int) -> tuple[int, int]: ...
    def reserve(self) -> memoryview: ...
    def commit(self, bytes: int) -> None: ...
    def coded_header(
        self, *, seq: int, offset: int, payload_bytes: int, sequence_bytes: int, codec: int, flags: int
    ) -> builtins.bytes: ...
    def put_coded(
        self, payload: Buffer, *, sequence_bytes: int, codec: int, flags: int, ending: bool = False
    ) -> None: ...
    @property
    def payload_bytes_max(self) -> int: ...
    def flush(self) -> None: ...
    def end(self, failed: bool = False) -> None: ...
    def drop(self) -> None: ...

class Turn(Struct, frozen=True):
    reason: TurnReason
    status: int
    position: int
    blocks: int
    bytes: int
    runs: np.ndarray

class Interleaver:
    def __init__(self, arena: Arena, agent: int, runs_max: int = 65536) -> None: ...
    def turn(self, ops: int, device: int, *, position: int, bytes_max: int, deadline_ns: int) -> Turn: ...
    def wait(self) -> TurnReason: ...
    def let_go(self) -> None: ...

class Split(Struct, frozen=True):
    reason: SplitReason
    status: int
    position: int
    blocks: int
    bytes: int
    blocks_wanted: int
    faults: np.ndarray
    record: builtins.bytes | None

class Splitter:
    def __init__(
        self, arena: Arena, pool: int, wants: np.ndarray, faults_max: int = 256, agent: int | None = None
    ) -> None: ...
    def run(
        self,
        ops: int,
        device: int,
        *,
        position: int,
        blocks_max: int,
        stop_at_records: bool = False,
        expect: bytes | None = None,
        expect_seq: int = 0,
    ) -> Split: ...

class Block(Struct, frozen=True):
    codec: int
    flags: int
    seq: int
    offset: int
    sequence_bytes: int
    header: memoryview
    payload: memoryview

class Drain:
    failed: bool
    seq: int
    offset: int
    def __init__(self, arena: Arena, cursor: int) -> None: ...
    def next_object(self, anywhere: bool = False) -> builtins.bytes | None: ...
    def take(self, wait: bool = True) -> Block | None: ...
    def payload(self) -> memoryview | None: ...
    def read(self, bytes: int) -> bytes: ...
    def skip(self, bytes: int) -> int: ...
    def pump_to(self, fd: int, offset: int, bytes: int) -> int: ...
    def close(self) -> None: ...
