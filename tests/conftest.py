"""Puts tests/ on the path, so that every test can import tiny_shops; one thread for each worker.

Two workers with two threads each wait for one another on two cores: the suite takes three times as long.
The variables are read when a numeric library is loaded, so they are set before any test is collected.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
