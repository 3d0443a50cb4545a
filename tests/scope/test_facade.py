"""X1: who only logs imports none of the scopes, and who asks for them has them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry import error_logger
from tokenpak.telemetry.scope.log_exception import log_exception

from .rig import run_program

PROBE = """
import sys
from tokenpak.telemetry.error_logger import get_error_logger
before = "tokenpak.telemetry.scope" in sys.modules, "asyncio" in sys.modules
from tokenpak.telemetry.error_logger import *
after = bind, bound, carry, install, log_exception, uninstall
heavy = {"asyncio", "multiprocessing", "concurrent.futures"} & set(sys.modules)
assert (before, heavy) == ((False, False), set()), (before, heavy)
"""


def test_x1_the_scopes_are_imported_by_whoever_uses_them(tmp_path: Path) -> None:
    """And even they import neither asyncio nor multiprocessing."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        cwd=tmp_path,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_come_later_are_those_of_the_module() -> None:
    """They are listed, and one that is none is told as ever."""
    facade: Any = error_logger

    assert facade.log_exception is log_exception
    assert set(error_logger.__all__) <= set(dir(error_logger))
    with pytest.raises(AttributeError, match="has no attribute 'log_eror'"):
        _ = facade.log_eror


def test_a_logger_is_made_by_the_first_exception_and_not_before(
    tmp_path: Path,
) -> None:
    """To decorate, to bind and to install starts nothing and reads no environment."""
    status, printed, records = run_program(
        "import os\n"
        "from tokenpak.telemetry.error_logger import *\n"
        "os.environ['TOKENPAK_LINGER'] = 'wrong'\n"
        "install()\n"
        "@log_exception('r')\n"
        "@bind(a=1)\n"
        "def function(fail):\n"
        "    if fail: raise ValueError('x')\n"
        "function(False)\n"
        "assert os.listdir('.') == ['program.py'], os.listdir('.')\n"
        "del os.environ['TOKENPAK_LINGER']\n"
        "function(True)\n",
        tmp_path,
    )

    assert status == 1
    assert "TOKENPAK_LINGER" not in printed
    assert [(r["request_id"], r["context"]) for r in records] == [("r", {"a": 1})]
