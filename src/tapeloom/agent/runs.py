"""Runs of plain files, made by C from entries that lie whole in memory.

What `_untree` makes of an entry is what `extract` makes of it: that way is the reference, and takes every entry that is
not simple.
"""

from __future__ import annotations

from .._untree import Maker
from .dressing import Setter
from .target import Target
from .unpax import Entry, Unpax


class Runs:
    """Makes the files of one restore whose owners it has learnt. `files` and `bytes` count them."""

    def __init__(self, setter: Setter):
        self._set = setter
        self._maker = Maker(now_ns=setter.now_ns, numeric_owner=setter.numeric_owner)
        self._users: set[bytes] = set()
        self._groups: set[bytes] = set()
        self._refused = False

    @property
    def files(self) -> int:
        return self._maker.files

    @property
    def bytes(self) -> int:
        return self._maker.bytes

    def learn(self, entry: Entry) -> None:
        """Let entries of *entry*'s owner go the fast way from now on."""
        if entry.user not in self._users:
            self._users.add(entry.user)
            self._maker.learn_user(entry.user, self._set.owners.uid(entry.user))
        if entry.group not in self._groups:
            self._groups.add(entry.group)
            self._maker.learn_group(entry.group, self._set.owners.gid(entry.group))

    def make(self, archive: Unpax, target: Target) -> None:
        """Make what comes next in *archive* and is simple, in the present folder of *target*."""
        here = target.here
        if here is None or target.inherits or self._refused:
            return
        while view := archive.view():
            done = self._maker.run(target.fd, here, view)
            if done:
                archive.passed(done, here + b"/" + self._maker.last if here else self._maker.last)
            if done < len(view):
                # Who refuses one owner refuses the next: it would all be made twice.
                self._refused = self._maker.refused
                return
