"""
The benchmark: what is promised in figures, measured on the machine it runs on.

    python -m bench                 everything, some 20 minutes
    python -m bench --quick         a tenth of the work or less: under 2 minutes
    python -m bench --only kill     one scenario

Rules, so that the figures can be trusted:

* Ratios count, not times, and both sides of a ratio come from the same round of the
  same run: a noisy neighbour then disturbs both.
* Each measurement has a process and a directory of its own; rounds are interleaved
  (a, b, c, a, b, c) so that a slow minute does not fall on one logger alone.
* Medians, with the lowest and highest round beside them.  Nothing is subtracted and no
  round is left out.
* What is counted (lost, doubled) is counted from the bytes of the log files, by code
  that shares nothing with the reader of the package.

``scenarios`` has one file for each question, ``adapters`` one for each logger.
"""

__all__: list[str] = []
