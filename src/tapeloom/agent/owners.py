"""Names of users and groups, and their numbers, each asked of the system once."""

from __future__ import annotations

import grp
import os
import pwd


class Owners:
    """Four caches. Names are bytes, as an archive holds them. What the system does not know is b"" or None."""

    def __init__(self) -> None:
        self._users: dict[int, bytes] = {}
        self._groups: dict[int, bytes] = {}
        self._uids: dict[bytes, int | None] = {}
        self._gids: dict[bytes, int | None] = {}

    def user(self, uid: int) -> bytes:
        name = self._users.get(uid)
        if name is None:
            try:
                name = os.fsencode(pwd.getpwuid(uid).pw_name)
            except (KeyError, OverflowError):
                name = b""
            self._users[uid] = name
        return name

    def group(self, gid: int) -> bytes:
        name = self._groups.get(gid)
        if name is None:
            try:
                name = os.fsencode(grp.getgrgid(gid).gr_name)
            except (KeyError, OverflowError):
                name = b""
            self._groups[gid] = name
        return name

    def uid(self, user: bytes) -> int | None:
        if user not in self._uids:
            try:
                self._uids[user] = pwd.getpwnam(os.fsdecode(user)).pw_uid
            except (KeyError, ValueError):
                self._uids[user] = None
        return self._uids[user]

    def gid(self, group: bytes) -> int | None:
        if group not in self._gids:
            try:
                self._gids[group] = grp.getgrnam(os.fsdecode(group)).gr_gid
            except (KeyError, ValueError):
                self._gids[group] = None
        return self._gids[group]
