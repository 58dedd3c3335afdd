"""What a method is given and what it gives: a case, with what is shown and what is asked, and the answer to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap
from cmbml.sky.patches import Patches, PatchSpec

Spec = TypeVar("Spec")
"""What a field is before any data is read: a `MapSpec` or a `PatchSpec`."""
Field = TypeVar("Field")
"""The data themselves: a `SkyMap` or `Patches`."""


@dataclass(frozen=True)
class CaseSpec(Generic[Spec]):
    """What is known of a case before any data is read.

    Attributes:
        shown: name -> what is shown under it, in the order in which methods see it; of observations, a map for each
            channel. Empty for what draws out of nothing.
        asked: what is to be found; of observations, the CMB without a beam.
        channels: what is known of the instrument, for those of `shown` that are its channels.
        templates: those of `shown` that hold foregrounds and no CMB, and the window b_l that each has of the sky's
            intensity, `(lmax + 1,)`.
    """

    shown: Mapping[str, Spec]
    asked: Spec
    channels: Mapping[str, Channel] = field(default_factory=dict)
    templates: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def described(self, template: str) -> str:
        """Say what a template is, in the words of a file's header."""
        spec: Any = self.shown[template]
        beam = f"{spec.fwhm_arcmin:g} arcmin" if spec.beam == "gaussian" else "no beam"
        return f"{Path(template).name}: {spec.unit or 'no unit'}, nside {spec.nside}, {beam}"

    def require_channel(self, name: str) -> Channel:
        """Return one channel.

        Raises:
            MapError: there is no such channel.
        """
        if not self.channels:
            message = f"there are no channels to clean: what is shown is {', '.join(self.shown)}; take another method"
            raise MapError(message)
        if name not in self.channels:
            message = f"the observation has no channel '{name}'; it has {', '.join(self.channels)}"
            raise MapError(message)
        return self.channels[name]

    def require_channels(self, names: Iterable[str]) -> None:
        """Look whether channels are there.

        Raises:
            MapError: one is not.
        """
        for name in names:
            self.require_channel(name)


@dataclass(frozen=True)
class Case(Generic[Field]):
    """One question.

    Attributes:
        spec: what everything is.
        shown: name -> data, in the order of `spec.shown`.
        asked: the true answer: given in training and judging, and shown to controls alone.
    """

    spec: CaseSpec[Any]
    shown: Mapping[str, Field]
    asked: Field | None = None


@dataclass(frozen=True)
class Bandpowers:
    """Spectra that a method gives beside its map: of flat patches of it, as `flat_spectra` measures them.

    Attributes:
        l_edges: `(n_bin + 1,)`, the multipoles at which bins begin and end.
        d_ell: `(n_patch, n_bin)`, mean of l(l+1) C_l / 2 pi in each bin, in the square of the map's unit.
        sigma: the same shape, standard deviation of each.
        patch: what the patches are; None where nobody has said it yet.
        centres: `(n_patch, 3)`, where they lie, as of `Patches`; None with `patch`.
    """

    l_edges: NDArray[np.float64]
    d_ell: NDArray[np.float64]
    sigma: NDArray[np.float64]
    patch: PatchSpec | None = None
    centres: NDArray[np.float64] | None = None

    @classmethod
    def joined(cls, parts: Sequence["Bandpowers"]) -> "Bandpowers":
        """Put the spectra of patches, in the same bins, on top of one another."""
        d_ell, sigma = (np.concatenate([getattr(part, name) for part in parts]) for name in ("d_ell", "sigma"))
        return cls(parts[0].l_edges, d_ell, sigma)


@dataclass(frozen=True)
class ChannelWeights:
    """With what weights a linear method has added up what it was shown, of I at the beam of its map.

    Attributes:
        rows: names of what was added up: channels, and templates after them.
        along: what `at` counts: `multipole`, or `latitude`, |b| in degrees.
        at: `(n,)`: where weights are told.
        mean: `(n_row, n)`: mean over the sky; NaN where a row takes no part.
        low: the same shape: 5 of 100 pixels have a lower one; the mean where weights are the same everywhere.
        high: the same shape: 5 of 100 pixels have a higher one.
    """

    rows: tuple[str, ...]
    along: Literal["multipole", "latitude"]
    at: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Answer(Generic[Field]):
    """What a method makes of a case.

    Attributes:
        value: what was asked for, described by what the method's `accepts` returned.
        sigma: standard deviation of its error per pixel, described by the same; None where the method has none.
        samples: draws of what it may be, of methods that give a distribution or generate.
        bandpowers: spectra of its patches, of methods that estimate them beside it.
        weights: how channels were added up, of linear methods that tell it.
        notes: FITS keyword -> what the files' headers are to say of how it was made, beside the method's name.
    """

    value: Field
    sigma: Field | None = None
    samples: tuple[Field, ...] = ()
    bandpowers: Bandpowers | None = None
    weights: ChannelWeights | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


ObservationSpec = CaseSpec[MapSpec]
Observation = Case[SkyMap]
"""The maps of all channels of one sky, of which the CMB is asked."""


def require_map(field: SkyMap | Patches) -> SkyMap:
    """Return a field that is a map of the whole sky.

    Raises:
        MapError: it is patches.
    """
    if isinstance(field, Patches):
        message = "the answers are patches: compare them with stages=patch_analysis, or clean a dataset of maps"
        raise MapError(message)
    return field
