r"""
The JSON in which alerts are told: Alertmanager's, its webhooks', and Slack's.

    https://github.com/prometheus/alertmanager, api/v2/openapi.yaml: postAlerts
    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
    https://api.slack.com/messaging/webhooks, and its page on formatting text

JSON is made by the encoder, never by putting strings together.  In Slack's text ``&``,
``<`` and ``>`` are escaped, and what an error says stands in a span of code, without
backticks of its own: so it can neither mention a channel, nor be a link, a picture or
bold.  (Mattermost takes the same form, and reads ``@channel`` and Markdown anywhere but
in code.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tokenpak.telemetry.watch.alerts import Alert

Form = Callable[[Sequence[Alert], float], Any]
"""Takes alerts and the time, and returns what becomes JSON."""

KEPT_FIRING: Final = 900.0
"""Seconds for which Alertmanager takes an alert to go on if nothing more is heard."""
_SOURCE: Final = "tokenpak telemetry watch"
_MOST_IN_SLACK: Final = 20


def alertmanager_form(alerts: Sequence[Alert], now: float) -> list[dict[str, Any]]:
    """Return the body of ``POST /api/v2/alerts``."""
    return [
        {
            **_labelled(alert),
            "startsAt": _iso(alert.starts_at),
            # Not before it starts, also where the clock was set back meanwhile.
            "endsAt": _iso(
                max(now, alert.starts_at) + KEPT_FIRING
                if alert.ends_at is None
                else alert.ends_at
            ),
        }
        for alert in alerts
    ]


def webhook_form(alerts: Sequence[Alert], now: float) -> dict[str, Any]:
    """Return what Alertmanager sends to webhooks, version 4."""
    del now
    firing = any(alert.ends_at is None for alert in alerts)
    each = [
        {
            "status": alert.status,
            **_labelled(alert),
            "startsAt": _iso(alert.starts_at),
            # Go's zero time stands for "not yet".
            "endsAt": "0001-01-01T00:00:00Z"
            if alert.ends_at is None
            else _iso(alert.ends_at),
            "generatorURL": "",
            "fingerprint": alert.identity,
        }
        for alert in alerts
    ]
    return {
        "version": "4",
        "groupKey": _SOURCE,
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": _SOURCE,
        "groupLabels": {},
        "commonLabels": {"source": _SOURCE},
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": each,
    }


def slack_form(alerts: Sequence[Alert], now: float) -> dict[str, Any]:
    """Return the body for an incoming webhook of Slack."""
    del now
    lines = [slack_line(alert) for alert in alerts[:_MOST_IN_SLACK]]
    if len(alerts) > _MOST_IN_SLACK:
        lines.append(f"and {len(alerts) - _MOST_IN_SLACK} more")
    return {"text": "\n".join(lines)}


def slack_line(alert: Alert) -> str:
    """Return one alert in Slack's text."""
    mark = ":white_check_mark:" if alert.ends_at is not None else ":warning:"
    if alert.ends_at is None and alert.severity == "critical":
        mark = ":rotating_light:"
    over = " (over)" if alert.ends_at is not None else ""
    text = f"{mark} *{alert.name}*{over}: {_as_code(alert.summary)}"
    if alert.example and alert.ends_at is None:
        text += f"\n> {_as_code(alert.example)}"
    return text


def _as_code(text: str) -> str:
    return f"`{escape_slack(text).replace('`', chr(39))}`"


def escape_slack(text: str) -> str:
    """Return *text* as Slack shows it as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def text_line(alert: Alert) -> str:
    """Return one alert as a line for a terminal or a mail."""
    state = "FIRING" if alert.ends_at is None else "RESOLVED"
    when = alert.starts_at if alert.ends_at is None else alert.ends_at
    line = f"{_iso(when)} {state} {alert.name} [{alert.severity}] {alert.summary}"
    return f"{line}: {alert.example}" if alert.example and not alert.ends_at else line


def _labelled(alert: Alert) -> dict[str, dict[str, str]]:
    labels = {
        "alertname": alert.name,
        "severity": alert.severity,
        "source": _SOURCE,
    }
    if alert.error_type:
        labels["error_type"] = alert.error_type
    annotations = {"summary": alert.summary}
    if alert.example:
        annotations["example"] = alert.example
    return {"labels": labels, "annotations": annotations}


def _iso(when: float) -> str:
    return (
        datetime.fromtimestamp(when, UTC)
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z")
    )


__all__ = [
    "KEPT_FIRING",
    "Form",
    "alertmanager_form",
    "escape_slack",
    "slack_form",
    "slack_line",
    "text_line",
    "webhook_form",
]
