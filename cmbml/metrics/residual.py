"""What the residual of a cleaned map is made of: lost signal, foregrounds, noise, chance correlations.

The residual is the cleaned map less the truth. Parts are maps or coefficients of one shape and one footing, and always
add up to it. Their own spectra do not add up, as parts may be correlated; their cross-spectra with the whole do.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.coupling import Decoupling, ModeCoupling, SpectrumError, Values
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.spectral import Columns, bin_columns, binned_spectra, masked_alm
from cmbml.sky.harmonics import Map, power
from cmbml.sky.masks import Mask

Part = NDArray[np.inexact[Any]]
P = TypeVar("P", NDArray[np.floating[Any]], NDArray[np.complexfloating[Any, Any]])

FIELD_NAMES = ("I", "Q", "U")


class ResidualError(SpectrumError):
    """Parts that are no decomposition of a residual."""


def linear_parts(truth: P, signal: P, foregrounds: P, noise: P, chance: P | None = None) -> dict[str, P]:
    """Decompose the residual of a method whose weights were kept and applied to each part of the observation.

    Args:
        truth: maps `(n_field, n_pix)` or coefficients `(n_comp, n_alm)`, at the footing.
        signal: what the weights make of the CMB alone.
        foregrounds: what they make of all foregrounds.
        noise: what they make of the noise.
        chance: what the weights found with the CMB make of the observation, less what those found without it do; None
            where all parts were given the former.

    Returns:
        `signal_loss` (more than lost where a method adds), `foregrounds`, `noise` and, where given, `chance`.

    Raises:
        ResidualError: shapes differ.
    """
    rest = {"foregrounds": foregrounds, "noise": noise} | ({} if chance is None else {"chance": chance})
    _require_one_shape(truth, signal=signal, **rest)
    return {"signal_loss": signal - truth, **rest}


def require_sum(parts: Mapping[str, Part], residual: Part, tolerance: float = 1e-3) -> float:
    """Check that parts add up to the residual; for a linear method, this checks that it is one.

    Args:
        parts: name -> maps or coefficients.
        residual: of the same shape.
        tolerance: how large the gap may be, as a part of the largest part (all as root mean squares).

    Returns:
        How large it is.

    Raises:
        ResidualError: it is larger, or shapes differ.
    """
    _require_one_shape(residual, **parts)
    gap = _rms(np.sum([part.astype(np.result_type(part, np.float64)) for part in parts.values()], axis=0) - residual)
    largest = max([_rms(residual), *(_rms(part) for part in parts.values())])
    relative = gap / largest if largest > 0 else 0.0
    if not relative <= tolerance:
        message = (
            f"{', '.join(parts)} miss the residual by {relative:.2e} of the largest of them (at most {tolerance:.0e} "
            "is allowed): the method is not linear, or the parts are not all of the observation; use paired runs"
        )
        raise ResidualError(message)
    return relative


def require_signal(signal: Part, applied: Part, tolerance: float = 5e-3) -> None:
    """Check that the signal part is what a linear method's weights make of the CMB itself.

    A signal that is what the other parts leave makes every sum hold, whatever the other parts are.

    Args:
        signal: the part, maps or coefficients.
        applied: the weights applied to the CMB as channels see it, of the same shape.
        tolerance: how large the gap may be, as a part of `signal` (both as root mean squares). Channels are in single
            precision, and their foregrounds up to 1e5 times the CMB: what is left of them comes to 2e-3 now and then.

    Raises:
        ResidualError: it is larger, or shapes differ.
    """
    _require_one_shape(signal, applied=applied)
    gap, largest = _rms(applied - signal), max(_rms(signal), _rms(applied))
    if gap > tolerance * largest:
        message = (
            f"the weights make something else of the CMB than the signal part: {gap / largest:.2e} of it is missed (at "
            f"most {tolerance:.0e} is allowed); the method's decompose does not apply one set of weights to every part"
        )
        raise ResidualError(message)


def part_rms(parts: Mapping[str, Map], mask: Mask, dipole: MonopoleDipole | None) -> Columns:
    """Return how large the parts are outside the mask, and what share of the residual's variance each explains.

    Args:
        parts: name -> `(n_field, n_pix)`: I, or I, Q, U.
        mask: `(n_pix,)`, True where to look.
        dipole: the fit of monopole and dipole, which are removed from I; None where they have been removed already.

    Returns:
        Columns of one row for each part, and `residual` for their sum, and field: part, field, rms (in the maps' unit)
        and share (mean of part times residual over that of the squared residual; the parts' shares add up to 1;
        NaN where there is no residual).
    """
    cleared = {name: _cleared(part, dipole)[:, mask].astype(np.float64) for name, part in parts.items()}
    whole = np.sum(list(cleared.values()), axis=0)
    cleared["residual"] = whole
    variance = np.mean(whole**2, axis=1)
    fields = FIELD_NAMES[: len(whole)]
    with np.errstate(invalid="ignore"):
        shares = [np.mean(part * whole, axis=1) / variance for part in cleared.values()]
    return {
        "part": np.repeat(list(cleared), len(fields)),
        "field": np.tile(fields, len(cleared)),
        "rms": np.concatenate([np.sqrt(np.mean(part**2, axis=1)) for part in cleared.values()]),
        "share": np.concatenate(shares),
    }


def part_spectra(
    parts: Mapping[str, Map],
    weight: Values,
    coupling: ModeCoupling,
    decoupled: tuple[Decoupling, ...],
    window: Values,
    dipole: MonopoleDipole | None,
    threads: int = 1,
) -> Columns:
    """Return the binned spectra of the parts, and of what each has in common with the residual.

    Args:
        parts: name -> `(n_field, n_pix)`: I, or I, Q, U.
        weight: `(n_pix,)`, between 0 and 1.
        coupling: of that weight.
        decoupled: of `decouplings`.
        window: `(n_comp, lmax + 1)` or longer: beam times pixel window of the maps.
        dipole: the fit of monopole and dipole, which are removed from I; None where they have been removed already.
        threads: CPU threads.

    Returns:
        Columns of one row for each kind, part (and `residual`), field and bin: kind, part, field, l_low, l_high, l_eff,
        n_modes, d_part (D_l, in the unit of the maps squared) and d_share (of part and residual together: the parts'
        add up to the residual's own spectrum).
    """
    alms = {name: masked_alm(part, weight, coupling.lmax, dipole, threads=threads) for name, part in parts.items()}
    whole = np.sum(list(alms.values()), axis=0)
    alms["residual"] = whole
    own = binned_spectra({name: power(alm) for name, alm in alms.items()}, coupling, decoupled, window)
    shared = binned_spectra({name: power(alm, whole) for name, alm in alms.items()}, coupling, decoupled, window)
    bins = bin_columns(decoupled[0].edges, coupling, len(window))
    tables = [
        {
            "kind": np.full(own[kind][name].shape, kind),
            "part": np.full(own[kind][name].shape, name),
            **bins,
            "d_part": own[kind][name],
            "d_share": shared[kind][name],
        }
        for kind in own
        for name in alms
    ]
    return {column: np.concatenate([table[column].ravel() for table in tables]) for column in tables[0]}


def _cleared(part: Map, dipole: MonopoleDipole | None) -> Map:
    return part if dipole is None else np.concatenate([dipole.remove(part[0])[None], part[1:]])


def _rms(part: Part) -> float:
    return float(np.sqrt(np.mean(np.abs(part, dtype=np.float64) ** 2)))


def _require_one_shape(first: Part, **others: Part) -> None:
    for name, part in others.items():
        if part.shape != first.shape:
            message = f"{name} has shape {part.shape}, not {first.shape}: all must be at the same footing"
            raise ResidualError(message)
