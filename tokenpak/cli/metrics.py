"""
``tokenpak telemetry metrics``: the counts of a directory, for Prometheus and people.

For all processes that share the directory, without any code in the application.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final

import click

from tokenpak.cli.interrupt import interruptible
from tokenpak.cli.options import HELP, existing_log_dir, log_dir_option
from tokenpak.cli.output import stdout_bytes
from tokenpak.cli.reading import PATIENCE, let_go_of_stdout, need_stdout

if TYPE_CHECKING:
    from tokenpak.telemetry.metrics.exposition import Exposition

_DEFAULT: Final = "127.0.0.1:9464"
_RECOVER_EVERY: Final = 30.0
"""Seconds; what dead processes left is counted when it is in the log."""
_TICK: Final = 0.1


def _address(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[str, int] | None:
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise click.BadParameter(
            f"{value!r} is not an address like {_DEFAULT}, [::1]:9464 or 9464."
        )
    return host, int(port)


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry metrics
  tokenpak telemetry metrics --serve
  tokenpak telemetry metrics --output /var/lib/node_exporter/tokenpak.prom

Counted is what is in the log, exactly once, also what was archived or deleted since;
up to where is remembered in metrics/ in the log directory.  What dead processes left
is appended first, where that is allowed.

Exit status: 0 done; 1 it could not be done; 2 wrong usage.
""",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("prometheus", "openmetrics", "json")),
    default="prometheus",
    show_default=True,
    help="How to write; openmetrics has exemplars with request ids.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="Write to FILE, renamed into place, for node exporter's textfile collector.",
)
@click.option(
    "--serve",
    is_flag=False,
    flag_value=_DEFAULT,
    callback=_address,
    metavar="[HOST:PORT]",
    help="Answer Prometheus at http://HOST:PORT/metrics until stopped.  Without a "
    f"value: {_DEFAULT}.",
)
@click.option(
    "--max-label-sets",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of each metric; further ones are counted as other.  [default: 1000]",
)
@log_dir_option
def metrics(
    log_dir: str | None,
    form: str,
    output: str | None,
    serve: tuple[str, int] | None,
    max_label_sets: int | None,
) -> None:
    """
    Show counts of errors and events, durations and costs, as Prometheus reads them.

    Of all processes that share the log directory, those that have ended included.
    """
    # Imported here: --help needs not load it.
    from tokenpak.telemetry.metrics.exposition import Exposition  # noqa: PLC0415
    from tokenpak.telemetry.metrics.machine import machine_counts  # noqa: PLC0415

    if serve is not None and (output is not None or form != "prometheus"):
        raise click.UsageError(
            "--serve goes with neither --output nor --format: who asks says in which "
            "format."
        )
    if serve is None:
        place: str | None = existing_log_dir(log_dir)
    else:
        place = log_dir  # it may come later
    counts = machine_counts(place, max_label_sets)
    exposition = Exposition(counts)
    _recover(counts.log_dir)
    if serve is not None:
        _serve(exposition, counts.log_dir, serve)
        return
    body = exposition.render(form)  # type: ignore[arg-type]
    if output is None or output == "-":
        need_stdout()
        try:
            out = stdout_bytes("text")
            out.write(body)
            out.flush()
        except BrokenPipeError:  # | head: it has what it wants
            let_go_of_stdout()
        return
    from tokenpak.telemetry.metrics.textfile import replace_file  # noqa: PLC0415

    try:
        replace_file(output, body)
    except OSError as e:
        raise click.ClickException(f"{output}: {e.strerror or e}.") from None


def _serve(exposition: Exposition, log_dir: str, address: tuple[str, int]) -> None:
    from tokenpak.telemetry.metrics.server import serving  # noqa: PLC0415

    try:
        with interruptible() as stop, serving(exposition, address) as url:
            click.echo(f"Serving the metrics of {log_dir} at {url}")
            due = time.monotonic() + _RECOVER_EVERY
            while not stop():
                time.sleep(_TICK)
                if time.monotonic() > due:
                    _recover(log_dir)
                    due = time.monotonic() + _RECOVER_EVERY
    except OSError as e:
        raise click.ClickException(_why(e, address)) from None


def _why(error: OSError, address: tuple[str, int]) -> str:
    host, port = address
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is taken: another program listens there. Choose another port "
            f"with --serve {host}:PORT, or stop that program."
        )
    return f"Cannot serve at {where}: {error.strerror or error}."


def _recover(log_dir: str) -> None:
    """Append what dead processes had accepted, where that is allowed."""
    from tokenpak.telemetry.queue.recovery import recover  # noqa: PLC0415

    if not os.path.isdir(log_dir):
        return
    try:
        recover(log_dir, patience=PATIENCE)
    except OSError:
        pass  # tokenpak_telemetry_orphans says that something is left


__all__ = ["metrics"]
