"""The public needlet ILC package pyilc (McCarthy & Hill 2024, arXiv:2307.01043) behind our contract.

The package is not part of this project and nothing of it is imported here. It changes matplotlib's settings, looks for
files relative to its working directory and leaves a hundred of them, so it runs in a process and a folder of its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, final

import healpy as hp
import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field

from cmbml.methods.base import ChannelNames, MethodError, WeighingMethod, minus, plus
from cmbml.methods.ilc.needlets import CosineNeedlets
from cmbml.methods.masking import masked
from cmbml.settings import Fraction, PositiveFloat, settings
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.maps import MapSpec, SkyMap

WORKER = Path(__file__).with_name("pyilc_worker.py")
RESULT = "needletILCmap_component_CMB.fits"
SHOWN_LINES = 12
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
INSTALL = (
    "pip install '.[pyilc]' installs it here; method.python=INTERPRETER names a Python that has it, and "
    "method.checkout=FOLDER a clone of https://github.com/jcolinhill/pyilc; or clean with our own engine, method={ours}"
)


@settings
class Pyilc(WeighingMethod):
    """Combine channels with pyilc; intensity only.

    Attributes:
        channels: the channels that are combined.
        fwhm_arcmin: the beam that all are brought to, and that the result has.
        lmax_per_nside: highest multipole that is used, over nside; the dataset's where that is lower.
        beam_criterion: a channel is used at the scales where its beam is above this.
        observation_mask: HEALPix file, below a half where observations are set to zero before all else, and the result
            means nothing; None: they are used as they are.
        python: the interpreter that has the package; the one that runs this program where None.
        checkout: a clone of the package's repository; the installed package where None.
    """

    channels: ChannelNames
    fwhm_arcmin: PositiveFloat
    lmax_per_nside: Annotated[float, Field(gt=0, le=3)] = 2.0
    beam_criterion: Fraction = 1e-3
    observation_mask: Path | None = None
    python: Path | None = field(default=None, metadata={"matters": False})
    checkout: Path | None = field(default=None, metadata={"matters": False})
    linear: ClassVar[bool] = True

    def files(self) -> tuple[Path, ...]:
        """Return the mask."""
        return () if self.observation_mask is None else (self.observation_mask,)

    @abstractmethod
    def _filters(self, lmax: int, nside: int) -> dict[str, Any]:
        """Return the part of the input file that is about filters in multipole space and covariances.

        Raises:
            MethodError: the package has no such filters.
        """

    @property
    @abstractmethod
    def _ours(self) -> str:
        """The method that does the same with our own engine."""

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Accept an observation that has the channels, if the package is there.

        Raises:
            MethodError: a setting cannot be met, or the package is not installed.
        """
        if len(self.channels) < 2:
            message = f"{self.name} needs at least two channels, and method.channels has {len(self.channels)}"
            raise MethodError(message)
        lmax = self._lmax(spec)
        self._filters(lmax, spec.asked.nside)
        for name in self.channels:
            if not spec.require_channel(name).beam(lmax, 1).all():
                message = f"channel {name} sees nothing at l = {lmax}; leave it out of method.channels"
                raise MethodError(message)
        _require_installed(self.python or Path(sys.executable), self.checkout, self.name, self._ours)
        return spec.asked.with_(fields="I", lmax=lmax, beam="gaussian", fwhm_arcmin=self.fwhm_arcmin)

    def clean_alike(
        self, observation: Observation, others: Sequence[Mapping[str, SkyMap]], scratch: Path, threads: int
    ) -> tuple[Answer[SkyMap], tuple[SkyMap, ...]]:
        """Write what the package reads, run it, and read what it wrote; then let it apply its weights to the others."""
        spec = self.accepts(observation.spec)
        with self._folder(observation, scratch) as folder:
            self._run(folder, threads, {"save_weights": "yes"} if others else {})
            answer = Answer(_result(folder, spec))
            return answer, tuple(self._applied(folder, other, observation.spec, threads) for other in others)

    def decompose(
        self,
        observation: Observation,
        foregrounds: Mapping[str, SkyMap],
        noise: Mapping[str, SkyMap],
        scratch: Path,
        threads: int,
    ) -> dict[str, SkyMap]:
        """Let the package apply to each part the weights that it finds where there is no CMB."""
        spec = self.accepts(observation.spec)
        whole = self.clean(observation, scratch, threads).value
        rest = plus(foregrounds, noise)
        parts = {"signal": minus(observation, rest).shown, "foregrounds": foregrounds, "noise": noise}
        found: dict[str, SkyMap] = {}
        with self._folder(replace(observation, shown=rest), scratch) as folder:
            self._run(folder, threads, {"save_weights": "yes"})
            for which, part in parts.items():
                found[which] = self._applied(folder, part, observation.spec, threads)
        chance = whole.values - sum(part.values for part in found.values())
        return found | {"chance": SkyMap(chance, spec)}

    def _applied(self, folder: Path, maps: Mapping[str, SkyMap], given: ObservationSpec, threads: int) -> SkyMap:
        """Apply to other maps the weights that a run has left in its folder."""
        # It takes results that it finds for those that were asked for.
        for left in folder.glob("needletILCmap_*"):
            left.unlink()
        seen = masked(maps, self.observation_mask)
        paths = [_write_map(folder / f"part_{name}.fits", seen[name]) for name in self._order(given)]
        self._run(folder, threads, {"maps_to_apply_weights": paths})
        return _result(folder, self.accepts(given))

    def _lmax(self, spec: ObservationSpec) -> int:
        most = spec.asked.lmax or 3 * spec.asked.nside - 1
        return min(most, int(self.lmax_per_nside * spec.asked.nside))

    def _order(self, spec: ObservationSpec) -> list[str]:
        """Return the channels from the widest beam to the narrowest, as the package wants them."""
        lmax = self._lmax(spec)
        return sorted(self.channels, key=lambda name: float(spec.require_channel(name).beam(lmax, 1).sum()))

    @contextmanager
    def _folder(self, observation: Observation, scratch: Path) -> Iterator[Path]:
        """Lay out all that the package reads in a folder that is removed afterwards."""
        spec, lmax = observation.spec, self._lmax(observation.spec)
        order, maps = self._order(spec), masked(observation.shown, self.observation_mask)
        with tempfile.TemporaryDirectory(dir=scratch, prefix="pyilc_") as place:
            folder = Path(place).resolve()
            beams = [_write_beam(folder / f"beam_{n}.txt", spec.channels[n].beam(lmax, 1)[0]) for n in order]
            entries = {
                "work_in_healpix": "yes",
                "output_dir": f"{folder}/",
                "output_prefix": "",
                "save_weights": "no",
                "save_as": "fits",
                "ELLMAX": lmax,
                "taper_width": 0,
                "N_freqs": len(order),
                "bandpass_type": "DeltaBandpasses",
                "freqs_delta_ghz": [spec.channels[name].freq_ghz for name in order],
                "freq_map_files": [_write_map(folder / f"map_{n}.fits", maps[n]) for n in order],
                "beam_type": "1DBeams",
                "beam_files": beams,
                "perform_ILC_at_beam": self.fwhm_arcmin,
                "N_side": spec.asked.nside,
                "ILC_preserved_comp": "CMB",
                "N_deproj": 0,
                "wavelet_beam_criterion": self.beam_criterion,
            }
            (folder / "input.yml").write_text(yaml.safe_dump(entries | self._filters(lmax, spec.asked.nside)))
            yield folder

    def _run(self, folder: Path, threads: int, more: Mapping[str, Any] | None = None) -> None:
        """Run the package in a process of its own.

        Raises:
            MethodError: it failed; the message ends with what it said last.
        """
        task = folder / "input.yml"
        if more:
            entries = yaml.safe_load(task.read_text()) | dict(more)
            task.write_text(yaml.safe_dump(entries))
        python = self.python or Path(sys.executable)
        done = subprocess.run(
            _command(python, str(task), self.checkout),
            cwd=folder,
            env=dict(os.environ) | dict.fromkeys(THREADS, str(threads)) | {"MPLCONFIGDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        # It also leaves with status 0 when weights fail its tests.
        if done.returncode or not (folder / RESULT).is_file():
            said = done.stdout.strip().splitlines() or ["nothing"]
            tail = "\n".join(said[-SHOWN_LINES:])
            message = f"pyilc left with status {done.returncode} and no map: {said[-1]}\nThe last that it said:\n{tail}"
            raise MethodError(message)


@final
@settings
class PyilcNeedlets(Pyilc):
    """The needlet ILC with cosine needlets; the settings of the CMB-ML paper are in its config.

    Attributes:
        bands: the needlets. The package wants the last to peak just above the highest multipole.
        bias_tolerance: part of the CMB that chance correlations may take away; sets the domains of the covariances.
        few_modes: whether a scale that has not modes enough for that is refused, or uses all that it has.
    """

    bands: CosineNeedlets
    bias_tolerance: Fraction
    few_modes: Literal["use_all", "refuse"] = "use_all"

    @property
    def _ours(self) -> str:
        return "cnilc"

    def _filters(self, lmax: int, nside: int) -> dict[str, Any]:
        factor = 1.0 if self.bands.nside is None else nside / self.bands.nside
        peaks = [factor * peak for peak in self.bands.peaks]
        if peaks[-1] < lmax:
            message = (
                f"{self.name}: pyilc's last needlet peaks just above the highest multipole, {lmax}, and here it would "
                f"at {peaks[-1]:g}; change the last of method.bands.peaks, or method.lmax_per_nside"
            )
            raise MethodError(message)
        kept = [*(peak for peak in peaks if peak < lmax), lmax + 1]
        return {
            "wavelet_type": "CosineNeedlets",
            "N_scales": len(kept) + 1,
            "ellmin": 0,
            "ellpeaks": kept,
            "ILC_bias_tol": self.bias_tolerance,
            "override_ILCbiastol_threshold": "yes" if self.few_modes == "use_all" else "no",
        }


@final
@settings
class PyilcHarmonic(Pyilc):
    """The harmonic ILC in bins of multipoles.

    Attributes:
        bin_width: multipoles per bin, what is left over at the end belonging to the last. The package needs two bins,
            and gets narrower ones where there would be one.
    """

    bin_width: Annotated[int, Field(ge=2)]

    @property
    def _ours(self) -> str:
        return "hilc"

    def _filters(self, lmax: int, nside: int) -> dict[str, Any]:  # noqa: ARG002
        return {"wavelet_type": "TopHatHarmonic", "BinSize": min(self.bin_width, lmax // 2)}


def _command(python: Path, task: str, checkout: Path | None) -> list[str]:
    """Return the command that runs the worker; links are not followed, for they tell a virtual environment."""
    found = Path(shutil.which(python.expanduser()) or python.expanduser())
    return [str(found.absolute()), str(WORKER), task, *([str(checkout.expanduser().absolute())] if checkout else [])]


@lru_cache
def _require_installed(python: Path, checkout: Path | None, name: str, ours: str) -> None:
    """Look, without importing it, whether an interpreter has the package and what that needs.

    Raises:
        MethodError: something is missing, or there is no such interpreter.
    """
    advice = INSTALL.format(ours=ours)
    try:
        done = subprocess.run(_command(python, "--check", checkout), capture_output=True, text=True, check=False)
    except OSError as error:
        message = f"{name}: method.python={python} cannot be run ({error.strerror}); {advice}"
        raise MethodError(message) from error
    if missing := done.stdout.split() + done.stderr.strip().splitlines()[-1:]:
        message = f"{name} needs the package pyilc: {python} lacks {', '.join(missing)}; {advice}"
        raise MethodError(message)


def _write_map(path: Path, sky: SkyMap) -> str:
    """Write the intensity in K_CMB, the unit that the package works in."""
    values = 1e-6 * sky.values[0].astype(np.float64)
    hp.write_map(path, values, dtype=np.float64, column_units="K_CMB", overwrite=True)
    return str(path)


def _write_beam(path: Path, window: NDArray[np.float64]) -> str:
    np.savetxt(path, np.column_stack([np.arange(len(window)), window]), fmt=["%d", "%.17e"])
    return str(path)


def _result(folder: Path, spec: MapSpec) -> SkyMap:
    """Read the cleaned map, which is in uK_CMB."""
    values = hp.read_map(folder / RESULT, dtype=np.float64)
    return SkyMap(values[None], spec)
