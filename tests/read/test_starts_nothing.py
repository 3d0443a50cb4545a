"""Reading is only reading."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tokenpak.telemetry import read


def test_x1_importing_the_reader_loads_no_writer() -> None:
    """Neither queue nor capture, no lock, no command line, no thread."""
    code = (
        "import sys, threading\n"
        "from tokenpak.telemetry import read\n"
        "read.export_records, read.iter_records, read.Query, read.parse_when\n"
        "heavy = ('tokenpak.telemetry.queue', 'tokenpak.telemetry.capture',\n"
        "    'tokenpak.telemetry.error_logger', 'tokenpak.cli', 'click',\n"
        "    'filelock', 'prometheus_client', 'logging')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "print(threading.active_count())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert done.stdout.split("\n") == ["[]", "1", ""]


def test_each_name_is_loaded_when_it_is_asked_for() -> None:
    """All that are announced are there; one that is not is no attribute."""
    for name in read.__all__:
        assert getattr(read, name) is not None
    assert set(read._PLACES) == set(read.__all__)
    with pytest.raises(AttributeError, match="nothing_of_it"):
        read.nothing_of_it  # type: ignore[attr-defined]  # noqa: B018  mypy sees it

    code = (
        "import sys, tokenpak.telemetry.read.when as when\n"
        "from tokenpak.telemetry.read import parse_when\n"
        "assert parse_when is when.parse_when\n"
        "heavy = ('pickle', 'json', 'inspect', 'orjson', 'tokenpak.telemetry.store')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, to begin anew")
def test_names_are_shown_before_they_are_loaded_and_each_can_be_the_first() -> None:
    """To who looks with dir(), help() or the Tab key; whichever is asked for."""
    code = (
        "import os, sys\n"
        "from tokenpak.telemetry import read\n"
        "assert not set(read._PLACES) & set(vars(read))\n"
        "assert set(read.__all__) <= set(dir(read))\n"
        "for name in read.__all__:\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        try:\n"
        "            getattr(read, name)\n"
        "            os._exit(0)\n"
        "        finally:\n"
        "            os._exit(1)\n"
        "    _, status = os.waitpid(pid, 0)\n"
        "    assert status == 0, name\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
