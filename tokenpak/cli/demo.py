"""``tokenpak telemetry demo``: show that killed processes lose nothing."""

from __future__ import annotations

import click

from tokenpak.cli.options import HELP
from tokenpak.demo import MAX_SECONDS, MAX_WORKERS


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry demo
  tokenpak telemetry demo --workers 8 --kill 6 --seconds 10

Exit status: 0 nothing is lost and nothing is there twice; 1 something is, or the demo
could not run; 2 wrong usage.
""",
)
@click.option(
    "--log-dir",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where to log to.  [default: a new temporary directory]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    default=4,
    show_default=True,
    help="How many processes log.",
)
@click.option(
    "--kill",
    type=click.IntRange(0, MAX_WORKERS),
    default=2,
    show_default=True,
    help="How many of them to kill (SIGKILL) under way.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, MAX_SECONDS, min_open=True),
    default=3.0,
    show_default=True,
    help="How long they work.",
)
@click.option("--seed", type=int, help="For the moments of the kills.")
def demo(
    log_dir: str | None, workers: int, kill: int, seconds: float, seed: int | None
) -> None:
    """
    Show that nothing is lost when processes are killed.

    Worker processes call a server on this machine that fails as LLM providers do, and
    log each failure.  Some are killed under way.  Then the log is compared with what
    the workers had logged: exit status 1 if a record is lost or there twice.
    """
    if kill > workers:
        raise click.BadParameter(
            f"{kill} is more than the {workers} workers there are.", param_hint="--kill"
        )
    # Imported here: a server, a client and the logger, which no other command needs.
    from tokenpak.demo.crew import DemoError  # noqa: PLC0415
    from tokenpak.demo.report import format_result  # noqa: PLC0415
    from tokenpak.demo.run import run_demo  # noqa: PLC0415

    try:
        result = run_demo(
            log_dir, workers=workers, kill=kill, seconds=seconds, seed=seed
        )
    except OSError as error:
        raise click.ClickException(
            f"The demo cannot use its files: {error}.  Try another --log-dir, or set "
            "TMPDIR to a directory that can be written."
        ) from error
    except DemoError as error:
        raise click.ClickException(str(error)) from error
    click.echo(format_result(result), nl=False)
    if not result.ok:
        raise click.exceptions.Exit(1)


__all__ = ["demo"]
