"""`files` and `find`: what file indexes say; a tape is touched only for an index that is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.attending import may_not_wait, waiting_told
from tapeloom.cli.endings import SOME, WELL, key_files, sentence
from tapeloom.cli.moments import moment
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import counted, local_time, say, short_id
from tapeloom.errors import NotFound, RestoreError, UsageError

if TYPE_CHECKING:
    from tapeloom.config import Config
    from tapeloom.ops.fetching import FromTape
    from tapeloom.ops.finding import Search
    from tapeloom.seal import KeyRing

_null = click.option("-0", "--null", is_flag=True, help="Paths alone, as they are, with a NUL behind each.")


@click.command()
@click.argument("name", metavar="OBJECT|SOURCE")
@click.argument("glob", metavar="[GLOB]", required=False)
@click.option("--state", is_flag=True, help="All that a restore gives: with an increment all that it builds on.")
@click.option("--at", metavar="TIME", callback=moment, help="The state of that time, as `restore --at` gives it.")
@_null
@key_files
@may_not_wait
@as_json("the entries, as a list")
@click.pass_obj
def files(
    file: Path,
    name: str,
    glob: str | None,
    state: bool,
    at: int | None,
    null: bool,
    keys: tuple[Path, ...],
    no_wait: bool,
    json_wanted: bool,
) -> None:
    """List the entries of an object or of a state: mode, size, time, path.

    A source's name means its newest object. Of an increment, what it holds itself: what has changed, and what was
    deleted; with --state or --at, all that is there after a restore.

    GLOB: `*` and `?` stay within a name, `**` does not; without a slash it is about names at any depth, with one about
    the whole path. A path that would not print stands in double quotes, with the escapes of C; in JSON, what is no
    UTF-8 is in `path_bytes` too, in base64.
    """
    from tapeloom import kept
    from tapeloom.catalog import Catalog
    from tapeloom.cli.entries import put_found
    from tapeloom.index import Wanted
    from tapeloom.ops.chain import find_chain
    from tapeloom.ops.choose import choose_object
    from tapeloom.ops.fetching import FromTape
    from tapeloom.ops.finding import Found, entries, state_entries
    from tapeloom.ops.indexes import open_index

    config = kept.config(file)
    wanted = None if glob is None else Wanted.parse([glob], below=False)
    ring = _ring(config, keys)
    with (
        Catalog.open(config.server.state, readonly=True) as catalog,
        FromTape(config, catalog, ring, say, waiting_told(no_wait)) as tapes,
    ):
        if state or at is not None:
            chain = find_chain(catalog, name, at=at)
            found = state_entries(catalog, chain, wanted, ring, tapes)
            put_found(found, json_wanted=json_wanted, null=null, with_object=False)
            item = chain.wanted
            say(f"The state of {item.source} as of {local_time(item.as_of)} (object {short_id(item.id)})")
            return
        item = choose_object(catalog, name, partial=True)
        index = open_index(catalog, item, ring, tapes)
    if index is None:
        whole = called("cat", short_id(item.id))
        kind = RestoreError if item.id in tapes.missed else NotFound
        raise kind(f"object {item.id} of {item.source} has no file index here; {whole} and `tar t` read it whole")
    with index:
        each = (Found(item, entry) for entry in entries(index, wanted))
        put_found(each, json_wanted=json_wanted, null=null, with_object=False)
    if item.parent is not None:
        whole = called("files", name, "--state")
        say(f"It is {item.level.name.lower()}: this is what it holds itself; {whole} lists all that a restore gives")


@click.command()
@click.argument("glob", metavar="GLOB")
@click.option("--source", metavar="S", help="In the objects of this source alone.")
@click.option("--at", metavar="TIME", callback=moment, help="As things were at that time.")
@click.option("--deleted", is_flag=True, help="Instead, the last version of what is no longer there, and since when.")
@click.option("--versions", is_flag=True, help="All versions of each path, and when it was deleted; the newest first.")
@_null
@key_files
@may_not_wait
@as_json("what was found, as a list")
@click.pass_obj
def find(
    file: Path,
    glob: str,
    source: str | None,
    at: int | None,
    deleted: bool,
    versions: bool,
    null: bool,
    keys: tuple[Path, ...],
    no_wait: bool,
    json_wanted: bool,
) -> int:
    """Find files in the newest state of each source, and the object that holds each.

    GLOB: as in `files`. A source's newest state is that of its newest object with a complete copy; what was deleted
    before is not in it. What an object's id is shown for can be had back by `restore`.
    """
    if deleted and versions:
        raise UsageError("--versions shows what was deleted, too: leave --deleted out")
    from tapeloom import kept
    from tapeloom.catalog import Catalog
    from tapeloom.cli.entries import put_found
    from tapeloom.index import Wanted
    from tapeloom.ops.fetching import FromTape
    from tapeloom.ops.finding import Search

    config = kept.config(file)
    wanted = Wanted.parse([glob], below=False)
    ring = _ring(config, keys)
    with (
        Catalog.open(config.server.state, readonly=True) as catalog,
        FromTape(config, catalog, ring, say, waiting_told(no_wait)) as tapes,
    ):
        search = Search(catalog, wanted, ring, source=source, tapes=tapes)
        found = search.versions(at) if versions else search.deleted(at) if deleted else search.newest(at)
        put_found(found, json_wanted=json_wanted, null=null, with_object=True)
    return _conclude(search, tapes)


def _conclude(search: Search, tapes: FromTape) -> int:
    """Says what could not be searched, but for what `tapes` have said."""
    if search.unindexed:
        say(f"{counted(search.unindexed, 'object')} without a file index not searched")
    meta = click.get_current_context().meta
    for why in dict.fromkeys(sentence(error, meta) for error in search.failures):
        say(why)
    return SOME if search.failures or tapes.missed else WELL


def _ring(config: Config, files: Sequence[Path]) -> KeyRing:
    from tapeloom.seal import KeyRing

    ring = KeyRing.load(config.keys)
    for file in files:
        ring.add_file(file)
    return ring
