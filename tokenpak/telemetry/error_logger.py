"""
Record failures of LLM calls, from any number of processes, and lose none.

    from tokenpak.telemetry.error_logger import get_error_logger

    try:
        result = call_llm(model="gpt-4")
    except Exception as e:
        get_error_logger().log_error("req-123", e, {"model": "gpt-4"})

A call costs microseconds, touches no disk and waits for nobody (C1).  When it has
returned, the record survives the death of the process, and appears exactly once in
``errors-YYYY-MM-DD.jsonl`` in the log directory (Q1).  All of it is safe in threads,
signal handlers, finalizers, forked children and asyncio tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from tokenpak.telemetry.capture.gate import Gate
from tokenpak.telemetry.capture.privacy.own_rules import checked_rules
from tokenpak.telemetry.capture.privacy.redactor import OwnRule, Redactor
from tokenpak.telemetry.capture.verbosity import make_encoder
from tokenpak.telemetry.metrics.counters import ErrorCounts
from tokenpak.telemetry.queue.pipeline import Pipeline
from tokenpak.telemetry.settings import (
    Names,
    RedactLevel,
    Sample,
    Settings,
    SyncPolicy,
    resolve_settings,
)
from tokenpak.telemetry.stats import Stats
from tokenpak.telemetry.store.names import ERRORS, EVENTS
from tokenpak.telemetry.store.redaction_key import redaction_key

if TYPE_CHECKING:  # see __getattr__
    from tokenpak.telemetry.scope.bind import bind, bound
    from tokenpak.telemetry.scope.carry import carry
    from tokenpak.telemetry.scope.install import install, uninstall
    from tokenpak.telemetry.scope.log_exception import log_exception

_LATER: Final = {
    "bind": "bind",
    "bound": "bind",
    "carry": "carry",
    "install": "install",
    "log_exception": "log_exception",
    "uninstall": "install",
}
"""In which module of ``scope`` a name is."""


class ErrorLogger:
    """
    A logger for one directory.  Nothing is started or created before the first record.

    One for each process is enough; see get_error_logger().  Every argument may be left
    out: then the environment variable ``TOKENPAK_`` + its name in capitals counts, then
    the default.

    Args:
        log_dir: where the daily files are; created, 0700, when needed.  Default
            ``~/.tokenpak/logs``.
        max_line_bytes: longest line; a longer record is shortened.  Default 32,000.
        max_pending_bytes: how much each stream may hold while the log cannot be
            written; beyond that records are dropped and counted.  Default 64 MiB.
        linger: seconds for which a batch is collected.  Default 0.02.
        full_wait: seconds that a call may wait for room before its record is dropped;
            for batch jobs.  Default 0: never.
        fsync: force the log to the disk ``"never"``, each ``"interval"`` or with each
            ``"batch"``; for power failures only.  Default ``"never"``.
        fsync_interval: seconds.  Default 1.
        recovery_interval: seconds between looks for what dead processes left.
            Default 30.
        exit_timeout: seconds that the end of the process may wait.  Default 5.
        spool_dir: where the spool is, if not in the log directory.
        archive_after_days: age at which a day's file is gzipped into ``archive/``.
            Default 7; 0: never.
        prune_after_days: age at which an archive is deleted.  Default 0: never.
        max_archive_bytes: bytes that archives may take together before the oldest are
            deleted.  Default 0: no bound.
        max_day_bytes: bytes to which one day's file may grow; beyond that records are
            dropped and counted.  Default 0: no bound.
        max_dir_bytes: the same for the whole directory.  Default 0: no bound.
        group_access: whether the group may read and write the log, too: files 0660,
            directories 2770.  Default False: 0600 and 0700.
        sample: which errors are recorded; all are counted.  A number from 0 to 1; a
            mapping of error types to such, ``*`` for all others; or a callable that is
            given error and context, and returns a bool or such a number.  Default 1.
        storm_first: how many failures that are alike (type, stack, message without its
            numbers) are recorded in a window before more of them are held back.
            Default 0: all.
        storm_every: of those, each how manieth is recorded all the same.  Default 100.
        storm_window: seconds, after which one record says how many were held back.
            Default 60.
        exception_facts: whether what an exception of openai, anthropic, httpx,
            requests, botocore or google knows goes into the context: status_code,
            provider_request_id, retry_after, kind.  Default True.
        redact: what is replaced by a mark in messages, stack traces, request ids and
            contexts: ``"credentials"`` (keys, tokens, passwords), ``"personal"`` (these
            and e-mail addresses, telephone and card numbers, IP addresses) or
            ``"off"``.  Default ``"credentials"``.
        max_message_bytes: the longest message; of a longer one the middle is left out.
            Default 0: as long as the line allows.
        max_stack_bytes: the same for stack traces.
        max_context_bytes: the largest context; of a larger one the largest values are
            shortened.  Default 0.
        context_allow: names of the context's keys that are recorded, ``usage.total``
            for one inside of another.  Default none: all.
        context_deny: names of those that are left out.  Default none.
        locals_frames: of how many frames, from where the error was raised outwards, the
            local variables are recorded: redacted, bounded.  Default 0.
        fields: what each record has behind its context, of ``process``, ``host``,
            ``thread``, ``task``, ``fingerprint`` and ``trace``.  Default none.
        redaction_rules: more to replace, by a name of letters, digits and ``_``: a
            regular expression, or a function that returns a text without it.  Where a
            function raises, the text is left out.  Not in the environment.

    Raises:
        SettingError: an argument has a value that cannot be used.  (A wrong value in
            the environment is warned about, and the default used.)

    """

    def __init__(
        self,
        log_dir: str | PathLike[str] | None = None,
        *,
        max_line_bytes: int | None = None,
        max_pending_bytes: int | None = None,
        linger: float | None = None,
        full_wait: float | None = None,
        fsync: SyncPolicy | None = None,
        fsync_interval: float | None = None,
        recovery_interval: float | None = None,
        exit_timeout: float | None = None,
        spool_dir: str | PathLike[str] | None = None,
        archive_after_days: int | None = None,
        prune_after_days: int | None = None,
        max_archive_bytes: int | None = None,
        max_day_bytes: int | None = None,
        max_dir_bytes: int | None = None,
        group_access: bool | None = None,
        sample: Sample | None = None,
        storm_first: int | None = None,
        storm_every: int | None = None,
        storm_window: float | None = None,
        exception_facts: bool | None = None,
        redact: RedactLevel | None = None,
        max_message_bytes: int | None = None,
        max_stack_bytes: int | None = None,
        max_context_bytes: int | None = None,
        context_allow: Names | None = None,
        context_deny: Names | None = None,
        locals_frames: int | None = None,
        fields: Names | None = None,
        redaction_rules: Mapping[str, OwnRule] | None = None,
    ) -> None:
        self._settings = resolve_settings(
            {
                "log_dir": log_dir,
                "max_line_bytes": max_line_bytes,
                "max_pending_bytes": max_pending_bytes,
                "linger": linger,
                "full_wait": full_wait,
                "fsync": fsync,
                "fsync_interval": fsync_interval,
                "recovery_interval": recovery_interval,
                "exit_timeout": exit_timeout,
                "spool_dir": spool_dir,
                "archive_after_days": archive_after_days,
                "prune_after_days": prune_after_days,
                "max_archive_bytes": max_archive_bytes,
                "max_day_bytes": max_day_bytes,
                "max_dir_bytes": max_dir_bytes,
                "group_access": group_access,
                "sample": sample,
                "storm_first": storm_first,
                "storm_every": storm_every,
                "storm_window": storm_window,
                "exception_facts": exception_facts,
                "redact": redact,
                "max_message_bytes": max_message_bytes,
                "max_stack_bytes": max_stack_bytes,
                "max_context_bytes": max_context_bytes,
                "context_allow": context_allow,
                "context_deny": context_deny,
                "locals_frames": locals_frames,
                "fields": fields,
            }
        )
        settings = self._settings
        redactor = Redactor(
            settings.redact,
            checked_rules(redaction_rules),
            lambda: redaction_key(settings.log_dir, group_access=settings.group_access),
        )
        encoder = make_encoder(settings, redactor)
        self._errors_by_type = ErrorCounts()
        self._gate = Gate(
            encoder,
            self._settings.sample,
            self._settings.storm_first,
            self._settings.storm_every,
            self._settings.storm_window,
            self._errors_by_type,
            self._warn_of_sample,
        )
        self._pipeline = Pipeline(
            settings,
            encoder,
            in_child=self._reset_in_child,
            tell=lambda last: self._gate.tell(last=last),
            at_first=redactor.prepare,
            suppressed=None if self._gate.open else self._count_suppressed,
        )
        sink = self._pipeline.chains[ERRORS].sink
        self._record_error = encoder.record_error(
            sink, self._errors_by_type.known, self._errors_by_type.add
        )
        if not self._gate.open:
            # What it counts and draws is this process's, also before the first record.
            self._pipeline.know_of_forks()
            self._record_error = self._gate.guard(
                self._record_error,
                encoder.record_described(sink),
                sink.unmade,
                lambda: self._pipeline.begin(ERRORS),
            )
        self._record_event = encoder.record_event(self._pipeline.chains[EVENTS].sink)
        # The methods below do nothing else, so a call of theirs can be saved; unless a
        # subclass has its own, or a test has put something in their place.
        if type(self).log_error is _LOG_ERROR:
            self.log_error = self._record_error  # type: ignore[method-assign]
        if type(self).log_event is _LOG_EVENT:
            self.log_event = self._record_event  # type: ignore[method-assign]

    def _reset_in_child(self) -> None:
        self._errors_by_type.reset()
        self._gate.reset()

    def _count_suppressed(self) -> dict[str, int]:
        return self._gate.dropped

    def _warn_of_sample(self, what: str) -> None:
        self._pipeline.warn(
            "sample",
            f"What the setting sample is given {what}. Its errors are recorded. It "
            f"must return True, False or a number from 0 to 1.",
        )

    @property
    def settings(self) -> Settings:
        """The options in force."""
        return self._settings

    def log_error(
        self,
        request_id: str | None,
        error: BaseException,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Record *error*, with its traceback.  Never raises.

        The traceback is the exception's own, so this works outside the ``except`` block
        too.  Whatever is passed instead of the types above is recorded as well as can
        be.

        Args:
            request_id: by which the record is found again.
            error: the exception.
            context: what else is known: model, provider, input_size, cost_estimate,
                duration_ms, ...  A snapshot is taken.

        """
        self._record_error(request_id, error, context)

    def log_event(
        self,
        event: str,
        request_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Record something that is no error, such as a completed call.  Never raises.

        It goes into ``events-YYYY-MM-DD.jsonl`` in the same directory.

        Args:
            event: what happened, e.g. ``"call_completed"``.
            request_id: by which the record is found again.
            context: what else is known.  A snapshot is taken.

        """
        self._record_event(event, request_id, context)

    def get_metrics(
        self, *, scope: str = "process", by: Sequence[str] = ("error_type",)
    ) -> dict[Any, int]:
        """
        Return how many errors of each type this process has logged, since it began.

        Args:
            scope: ``"machine"``: all in the log, of all processes, since its counters
                were begun.
            by: for that: some of error_type, provider, model and kind; several make
                tuples as keys.

        Raises:
            SettingError: there is no such scope, or not by these.

        >>> ErrorLogger().get_metrics()
        {}
        """
        if scope == "process" and tuple(by) == ("error_type",):
            return self._errors_by_type.by_type()
        from tokenpak.telemetry.metrics.machine import errors_by  # noqa: PLC0415

        return errors_by(self._settings.log_dir, scope, by)

    def stats(self) -> Stats:
        """Return what became of the records of this process."""
        counts = self._pipeline.counts()
        dropped = {**counts.dropped, **self._gate.dropped}
        return Stats(counts._replace(dropped=dropped), self._gate.summaries)

    def flush(self, timeout: float | None = None) -> bool:
        """
        Wait until everything accepted before this call is in the log file.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns:
            Whether it is.  Nothing is lost if not.

        """
        return self._pipeline.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """
        Flush, and let go of thread and files.  Idempotent.

        Logging afterwards is counted as dropped, and still never raises.  Not needed at
        the end of a process.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns:
            Whether everything is in the log.  If not, the next process that logs to the
            directory, or reads it, brings it there.

        """
        return self._pipeline.close(timeout)


_LOG_ERROR = ErrorLogger.log_error
_LOG_EVENT = ErrorLogger.log_event

_shared: dict[str, ErrorLogger] = {}


def get_error_logger() -> ErrorLogger:
    """
    Return the logger of this process, with settings from the environment.

    Always the same one; in a forked child it begins empty.
    """
    logger = _shared.get("it")
    if logger is None:
        # One step, so that two threads get the same one.  A logger that was never used
        # holds nothing, so the other may be forgotten.
        logger = _shared.setdefault("it", ErrorLogger())
    return logger


def log_error(
    request_id: str | None,
    error: BaseException,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Record *error* with the logger of this process; see ErrorLogger.log_error()."""
    get_error_logger().log_error(request_id, error, context)


def log_event(
    event: str,
    request_id: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    """Record *event* with the logger of this process; see ErrorLogger.log_event()."""
    get_error_logger().log_event(event, request_id, context)


if not TYPE_CHECKING:  # who checks types would take any name at all for one

    def __getattr__(name: str) -> Any:
        # Imported by whoever uses it: who only logs does not wait for it.
        module = _LATER.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415

        from tokenpak.telemetry.scope.target import share  # noqa: PLC0415

        share(get_error_logger)
        found = getattr(import_module(f"tokenpak.telemetry.scope.{module}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


__all__ = [
    "ErrorLogger",
    "Stats",
    "bind",
    "bound",
    "carry",
    "get_error_logger",
    "install",
    "log_error",
    "log_event",
    "log_exception",
    "uninstall",
]
