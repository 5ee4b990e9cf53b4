"""How kernels are compiled."""

from numba import njit

# Cached on disk, the GIL released. Zero divisors are met by hand: Numba's own check at every
# division rules out vector instructions.
compiled = njit(cache=True, nogil=True, error_model="numpy")
