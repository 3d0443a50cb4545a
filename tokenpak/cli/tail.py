"""
``tokenpak telemetry tail``: the last records, and those that come.

What dead processes had accepted is appended first, as export does it; what is in the
spools of living ones is shown from there, a moment before it is in the log.
"""

from __future__ import annotations

import itertools
import select
import shutil
import sys
import time
from typing import IO, TYPE_CHECKING, Any

import click

from tokenpak.cli.display import Display, use_color
from tokenpak.cli.options import (
    HELP,
    existing_log_dir,
    log_dir_option,
    make_query,
    query_options,
)
from tokenpak.cli.output import stdout_bytes
from tokenpak.cli.reading import (
    let_go_of_stdout,
    need_stdout,
    recover_quietly,
    tell_damage,
)
from tokenpak.telemetry.read.strict import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tokenpak.telemetry.read import Damage
    from tokenpak.telemetry.read.records import Found

_MOST = 10_000
"""Records at the beginning, which are held; for more there is export."""
_BATCH = 1000
"""Records that are written at once: a burst need not wait for its end."""


def color_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--color`` to *command*."""
    return click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="Colours; auto: on a terminal, unless NO_COLOR is set.",
    )(command)


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry tail
  tokenpak telemetry tail -f --provider anthropic
  tokenpak telemetry tail -n 1 --full
  tokenpak telemetry tail -f --format jsonl | jq --unbuffered .message

A line has time (UTC), type, request id, provider/model and message; on a terminal it
is shortened to its width.  Control characters are shown as escapes.  Malformed lines
are skipped, and told of on stderr.  -f ends with Ctrl-C, or with the reader of a pipe.

Exit status: 0 shown, also if nothing matched or lines were skipped, and at Ctrl-C; 1
the log directory cannot be read or the output not written; 2 wrong usage.
""",
)
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0, _MOST),
    default=10,
    show_default=True,
    metavar="N",
    help="How many of the last records.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on and show what comes.")
@click.option("--full", is_flag=True, help="With the context and the stack trace.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "jsonl"]),
    default="text",
    show_default=True,
    help="For people, or a JSON object a line.",
)
@color_option
@query_options
@log_dir_option
def tail(
    log_dir: str | None,
    lines: int,
    follow: bool,
    full: bool,
    form: str,
    color: str,
    **wanted: Any,
) -> None:
    """
    Show the last errors, or events; with -f also each that comes.

    A record is shown within a second after the call that logged it, once, across
    midnight, archiving and the deaths of processes, even if its process is stopped and
    its record still waits in a spool.
    """
    # Imported here: --help needs not load it.
    from tokenpak.telemetry.read.follow import INTERVAL, Follower  # noqa: PLC0415

    if wanted.get("limit") is not None:
        raise click.UsageError("--limit: say how many of the last with --lines.")
    last = wanted.get("last")
    if last is not None and last > _MOST:
        raise click.UsageError(f"--last: at most {_MOST:,}; for more there is export.")
    lines = lines if last is None else last
    query = make_query(**wanted)
    need_stdout()
    place = existing_log_dir(log_dir)
    recover_quietly(place)
    show = _json_lines if form == "jsonl" else _Text(color=color, full=full)
    out = stdout_bytes("json") if form == "jsonl" else sys.stdout.buffer
    try:
        with Follower(place, query) as follower:
            # Files of two streams are read one after the other.
            sort = len(query.streams) > 1
            _write(follower.last(lines), show, out, sort=sort)
            while follow and _is_read():
                time.sleep(INTERVAL)
                _write(follower.poll(), show, out, sort=sort)
    except KeyboardInterrupt:
        if not follow:
            raise
        let_go_of_stdout()
    except BrokenPipeError:
        let_go_of_stdout()
    except OSError as e:
        if e.filename is None:
            raise  # it is the output that fails
        raise click.ClickException(
            f"The log cannot be read: {e.filename}: {e.strerror or e}."
        ) from None


def _write(
    items: Iterable[Found | Damage],
    show: Callable[[list[Found]], bytes],
    out: IO[bytes],
    *,
    sort: bool,
) -> None:
    """Write the records of *items* to *out*, and tell of damage on stderr."""
    records = _records(items)
    while batch := list(itertools.islice(records, _BATCH)):
        if sort:
            batch.sort(key=lambda item: str(item[0].get("timestamp")))
        out.write(show(batch))
        out.flush()


def _records(items: Iterable[Found | Damage]) -> Iterator[Found]:
    for item in items:
        if isinstance(item, tuple):
            yield item
        else:
            tell_damage(item)


def _json_lines(batch: list[Found]) -> bytes:
    lines = [encode(item[0]) if item[1] is None else item[1] for item in batch]
    return b"\n".join(lines) + b"\n"


class _Text:
    """Records for people, in the encoding and the width of the terminal."""

    def __init__(self, *, color: str, full: bool) -> None:
        self._on_terminal = sys.stdout.isatty()
        self._display = Display(color=use_color(color), full=full, columns=None)
        self._encoding = sys.stdout.encoding or "utf-8"

    def __call__(self, batch: list[Found]) -> bytes:
        if self._on_terminal:  # whose width may change meanwhile
            self._display.columns = shutil.get_terminal_size().columns
        text = "".join(self._display.text(item[0]) for item in batch)
        return text.encode(self._encoding, "backslashreplace")


def _is_read() -> bool:
    """Return whether stdout still has a reader, as far as that can be known."""
    if not hasattr(select, "poll"):
        return True
    poller = select.poll()
    try:
        poller.register(sys.stdout.fileno(), 0)
        return not any(event & select.POLLERR for _, event in poller.poll(0))
    except (OSError, ValueError):  # stdout is none of the system's
        return True


__all__ = ["color_option", "tail"]
