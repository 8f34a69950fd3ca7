"""Python runs this at its start where a drill has put its folder on PYTHONPATH.

libfaketime 0.9.10 refuses time.sleep of Python 3.11 and later as an "Invalid argument" where it is
to leave the monotonic clock alone (wolfcw/libfaketime#426). A select of nothing it leaves alone.
"""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    whole = float(seconds)
    if whole < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], whole)


time.sleep = _sleep
