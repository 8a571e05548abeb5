"""Writing the catalog to tape: by `export-catalog`, and after a backup where the configuration says so."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec import Struct

from tapeloom.cli.attending import enter_when_free, signals
from tapeloom.cli.endings import begun
from tapeloom.cli.screen import say, short_id
from tapeloom.errors import TapeloomError

if TYPE_CHECKING:
    from tapeloom.config import Config
    from tapeloom.ops.outcome import BackupResult


def export(
    config: Config, to: str | Sequence[str] | None, wait_seconds: float, *, patient: bool = True
) -> BackupResult:
    """Runs the job, and retires the exports before it."""
    from tapeloom.cli.progress import watch_backup
    from tapeloom.ops.exporting import forget_older, open_export

    with ExitStack() as stack:
        running = enter_when_free(stack, lambda: open_export(config, to, patient=patient), wait_seconds)
        with watch_backup(running) as progress, signals(running.job, progress.say) as look:

            def tick() -> None:
                look()
                progress.tick()

            begun()
            result = running.run(tick)
    forget_older(config.server.state, result)
    return result


class After(Struct, frozen=True):
    """What came of an export after a backup. `result` None: there was none; then `failed` says whether it was due."""

    result: BackupResult | None = None
    failed: bool = False

    @property
    def exit_status(self) -> int:
        return 1 if self.failed or (self.result is not None and self.result.exit_status) else 0


def export_after(config: Config, result: BackupResult, wait_seconds: float, *, patient: bool) -> After:
    """A job of its own, so that the receipts of the backup are in what it writes. What goes wrong is said, and does not
    touch the backup."""
    if not config.server.export_catalog:
        return After()
    from tapeloom.ops.exporting import due

    drives = due(config, result)
    if not drives:
        say("The catalog was not exported: the job was stopped, or no drive wrote anything without trouble.")
        return After()
    where = ", ".join(drives)
    try:
        exported = export(config, drives, wait_seconds, patient=patient)
    except TapeloomError as error:
        say(f"The catalog was not exported to {where}: {error}")
        return After(failed=True)
    say(f"The catalog goes to {where} after each backup: job {short_id(exported.job)} is {exported.status}.")
    return After(exported)
