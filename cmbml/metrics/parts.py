"""How large the parts of an error are at the footings at which the error itself is scored."""

from collections.abc import Mapping, Sequence

import numpy as np

from cmbml.metrics.footing import Footing, Window, windows
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.residual import part_rms
from cmbml.metrics.spectral import Columns, iterated_analysis
from cmbml.sky.harmonics import Alm, Map, alm_lmax, filter_components, synthesise
from cmbml.sky.maps import MapSpec
from cmbml.sky.masks import Mask

BEAM_LOSS = "beam_loss"
"""The part of a footing's signal that a perfect map with the method's beam and band limit would lack."""


def footing_rms(
    parts: Mapping[str, Map],
    truth_alm: Alm,
    spec: MapSpec,
    footings: Sequence[Footing],
    own: Window,
    mask: Mask,
    nside: int,
    threads: int = 1,
) -> Columns:
    """Bring each part of an error to each footing, and say how large it is there.

    At a footing of window f, a map of window b is multiplied by a factor w (`Windows.prediction`). The error w p - f t
    of a prediction p is the sum of its parts, each times w, and of (w b - f) t, which is `beam_loss`.

    Args:
        parts: name -> `(n_field, n_pix)`, uK_CMB, the method's own beam still in; their sum is the error p - b t.
        truth_alm: `(n_comp, n_alm)`, uK_CMB, without a beam.
        spec: what the prediction was.
        footings: where.
        own: `(n_comp, lmax + 1)` of the truth's lmax: beam times pixel window of the prediction.
        mask: `(n_pix,)` at `nside`, True where to look.
        nside: of the comparison.
        threads: CPU threads.

    Returns:
        The columns of `part_rms` and `footing`.
    """
    n_comp, lmax = len(own), alm_lmax(truth_alm.shape[-1])
    top = int(np.flatnonzero(own.any(axis=0))[-1])
    dipole = MonopoleDipole.outside(mask)
    alms = {name: iterated_analysis(part, top, threads=threads) for name, part in parts.items()}
    tables = []
    for footing in footings:
        scale = windows(spec, footing, lmax, n_comp, own)
        factor = scale.prediction[:, : top + 1]
        maps = {name: synthesise(filter_components(alm, factor), nside, threads) for name, alm in alms.items()}
        if not np.allclose(scale.perfect, scale.truth, atol=1e-9):
            lost = filter_components(truth_alm[:n_comp], scale.perfect - scale.truth)
            maps[BEAM_LOSS] = synthesise(lost, nside, threads)
        columns = part_rms(maps, mask, dipole)
        tables.append({"footing": np.full(len(columns["part"]), footing.name)} | columns)
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
