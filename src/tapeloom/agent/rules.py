"""Which of the files below its paths a source takes: what its configuration says, and how two of them differ."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ..errors import SourceError


class Rules(Struct, frozen=True):
    """The paths of a source, and what of them it leaves out. `nobackup` are names of marker files."""

    paths: tuple[Path, ...]
    exclude: tuple[str, ...]
    one_file_system: bool
    cachedir_tag: bool
    nobackup: tuple[bytes, ...]

    def fingerprint(self) -> bytes:
        """All of it as it stands in a snapshot."""
        said = {
            "paths": sorted(os.fsencode(path).decode("latin-1") for path in self.paths),
            "exclude": self.exclude,
            "one_file_system": self.one_file_system,
            "exclude_caches": self.cachedir_tag,
            "exclude_if_present": sorted(name.decode("latin-1") for name in self.nobackup),
        }
        return json.dumps(said, sort_keys=True).encode()

    def difference(self, fingerprint: bytes) -> str | None:
        """In what *fingerprint* differs from this, in words, or None."""
        here, there = json.loads(self.fingerprint()), json.loads(fingerprint)
        names = [name for name in here if here[name] != there.get(name)]
        return f"its {' and '.join(names)} changed" if names else None

    def matcher(self) -> Callable[[bytes], bool] | None:
        """Says of a path below the root, a folder's with a closing slash, whether it is excluded.

        Raises SourceError for a pattern that is none.
        """
        if not self.exclude:
            return None
        from pathspec import GitIgnoreSpec  # only where there is something to exclude: start-up time

        try:
            match = GitIgnoreSpec.from_lines(self.exclude).match_file
        except (ValueError, re.error) as error:
            raise SourceError(f"a pattern of `exclude` is none: {error}") from None
        return lambda path: match(os.fsdecode(path))
