"""Sets the wall clock of a process wrong by CHAOS_CLOCK_SKEW_SECONDS; Python reads this file when it starts."""

import os
import time

_skew_ns = int(float(os.environ["CHAOS_CLOCK_SKEW_SECONDS"]) * 1e9)
_time_ns = time.time_ns
time.time_ns = lambda: _time_ns() + _skew_ns
time.time = lambda: time.time_ns() / 1e9
