"""How a command ends: from an exception to a sentence on standard error and an exit status.

======  ==================================================================
0       all well
1       some objects or copies are not
2       wrong use: of the command line, names that nothing has with it, or mistakes in the file
3       nothing done
130     interrupted (128 + SIGINT), 141: nobody read the output (128 + SIGPIPE)
======  ==================================================================
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

import tapeloom
from tapeloom.cli.screen import bounded, say
from tapeloom.errors import ConfigError, KeyMissing, TapeloomError

F = TypeVar("F", bound=Callable[..., Any])

WELL, SOME, WRONG_USE, NOTHING = 0, 1, 2, 3
INTERRUPTED = 130
NO_READER = 141


_BEGUN = "tapeloom.begun"
_TAKES_KEYS = "tapeloom.takes_keys"


def begun() -> None:
    """Called by a verb when it begins to do what it was asked for: what goes wrong before is status 3."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[_BEGUN] = True


def has_begun() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_BEGUN))


def key_files(verb: F) -> F:
    """The option --key."""

    def note(context: click.Context, param: click.Parameter, files: tuple[Path, ...]) -> tuple[Path, ...]:
        context.meta[_TAKES_KEYS] = True
        return files

    return click.option(
        "--key",
        "keys",
        metavar="FILE",
        multiple=True,
        type=click.Path(path_type=Path),
        callback=note,
        help="A key file beside those in [keys].",
    )(verb)


def sentence(error: TapeloomError, meta: Mapping[str, Any]) -> str:
    """What there is to say of it, with the options of the verb whose context has this `meta`."""
    give = isinstance(error, KeyMissing) and meta.get(_TAKES_KEYS)
    return f"tapeloom: {error}{'; or give it with --key FILE' if give else ''}"


def ending(error: BaseException, meta: Mapping[str, Any]) -> int:
    """Says what there is to say of the exception that ended a command, and gives the exit status. `meta` is that of the
    command's context."""
    failed = SOME if meta.get(_BEGUN) else NOTHING
    if os.environ.get("TAPELOOM_DEBUG"):
        import traceback

        traceback.print_exception(error)
    match error:
        case BrokenPipeError():
            _let_output_go()
            return NO_READER
        case click.ClickException():
            return _wrong_use(error)
        case KeyboardInterrupt() | click.Abort():
            say("tapeloom: interrupted")
            return INTERRUPTED
        case ConfigError():
            for problem in error.problems:
                say(f"tapeloom: {problem}")
            return error.exit_status
        case TapeloomError():
            say(sentence(error, meta))
            return failed if error.exit_status == SOME else error.exit_status
        case OSError():
            return _system(error, failed)
        case MemoryError():
            say("tapeloom: there is not enough memory; a smaller `memory` in [server] needs less")
            return failed
        case _:
            return _bug(error)


def _wrong_use(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    say(f"tapeloom: {error.format_message().rstrip('.')}")
    if context is not None:
        say(f"`{context.command_path} --help` shows how it is used")
    return WRONG_USE


def _system(error: OSError, failed: int) -> int:
    if error.errno in (errno.ENOSPC, errno.EIO) and error.filename is None:
        _let_output_go()
        failed = SOME  # what was found is lost, but not all that was done
    place = f": {os.fsdecode(error.filename)}" if error.filename is not None else ""
    say(f"tapeloom: the system refused: {error.strerror or error}{place}")
    return failed


def _bug(error: BaseException) -> int:
    import platform
    import shlex
    import tempfile
    import traceback

    lines = [
        f"tapeloom {tapeloom.__version__}, Python {platform.python_version()}, {platform.platform()}\n",
        f"{shlex.join(sys.argv)}\n\n",
        *traceback.format_exception(error),
    ]
    what = (
        f"tapeloom: this is a bug in tapeloom ({type(error).__name__}: {bounded(str(error).splitlines() or [''])[0]})"
    )
    try:
        with tempfile.NamedTemporaryFile("w", prefix="tapeloom-bug-", suffix=".txt", delete=False) as file:
            file.writelines(lines)
    except OSError as refused:
        say(f"{what}; TAPELOOM_DEBUG=1 shows more, since it could not be saved: {refused.strerror}")
    else:
        say(f"{what}; please report it with {file.name}")
    return SOME


def _let_output_go() -> None:
    """What is still in the buffer of standard output goes nowhere, or the interpreter would complain at its end."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
