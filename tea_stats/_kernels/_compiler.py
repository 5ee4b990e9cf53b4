"""How kernels are compiled."""

import warnings
from functools import cache, partial
from multiprocessing import parent_process

from numba import njit

# The GIL released. Zero divisors are met by hand: Numba's own check at every division rules out
# vector instructions.
decorator = partial(njit, nogil=True, error_model="numpy")


def compiled(function):
    """Return the compiled function; kept on disk where that is possible."""
    try:
        return decorator(cache=True)(function)
    except RuntimeError as problem:  # numba looks for a folder as soon as it decorates
        if "no locator available" not in str(problem):
            raise
        _warn_once()
        return decorator()(function)


@cache
def _warn_once():
    if parent_process() is None:  # the workers of a study need not repeat it
        warnings.warn(
            "compiled kernels cannot be kept: neither tea_stats' folder nor a cache folder of this "
            "user can be written; each process compiles again, which takes seconds. Set "
            "NUMBA_CACHE_DIR to a folder of your own that can be written",
            RuntimeWarning,
            stacklevel=3,
        )
