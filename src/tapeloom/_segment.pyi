from enum import IntEnum

import numpy as np
from msgspec import Struct

from tapeloom._kernel import Feeder

ABI: int
WHY_BYTES: int

class Goodbye(IntEnum):
    NONE = 0
    TAKEN = 1
    STOPPED = 2
    NO_READERS = 3
    DISTRUST = 4

class BridgeEnd(IntEnum):
    WHOLE = 0
    BROKEN = 1
    DIED = 2
    LIED = 3
    STOPPED = 4
    NO_READERS = 5
    SYSTEM = 6

class Word(IntEnum):
    FILLED = 0
    BYTES = 1
    ENDED = 2
    SOCKET = 3

def segment_bytes(slots: int, payload_max: int) -> int: ...
def control_bytes(slots: int) -> int: ...

class Passage(Struct, frozen=True):
    end: BridgeEnd
    word: Word
    value: int
    errno: int
    said: bytes

class Bridge:
    slots: int
    payload_max: int
    freed_fd: int
    def __init__(self, feeder: Feeder) -> None: ...
    def watch(self) -> None: ...
    def unwatch(self) -> None: ...
    def run(self, memory: int, socket: int, process: int) -> Passage: ...
    def goodbye(self, word: Goodbye) -> None: ...
    def close(self) -> None: ...

class Filler:
    memory: np.ndarray
    def __init__(self, memory: np.ndarray, slots: int, payload_max: int, socket: int) -> None: ...
    def room(self) -> tuple[int, int]: ...
    def filled(self, bytes: int) -> None: ...
    def write(self, data: memoryview) -> None: ...
    def flush(self) -> None: ...
    def end(self) -> None: ...
    def fail(self, why: bytes) -> None: ...
