"""Methods on arrays in memory: a loop of one's own needs no pipeline."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import healpy as hp
import numpy as np
from astropy.units import Quantity
from numpy.typing import NDArray

from cmbml.core.app import composed, made_of
from cmbml.core.errors import ConfigError
from cmbml.cores import n_cores
from cmbml.methods.base import BlindMethod, Method, MethodError
from cmbml.methods.trained import Hardware, State, TrainedMethod
from cmbml.notebook.skymap import shown
from cmbml.sky import maps
from cmbml.sky.case import Answer, Case, CaseSpec, Observation
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Frame, MapSpec
from cmbml.sky.units import microkelvin
from cmbml.stages.modelling.import_state import read_state
from cmbml.stages.modelling.learnt import asked


def load_method(name: str, *overrides: str, weights: str | Path | None = None) -> "LoadedMethod":
    """Load a method with the settings of its config.

    Args:
        name: of a file in `cfg/method/`, such as `nilc`; `cmbml clean --help` lists them.
        *overrides: as on the command line, `method.fwhm_arcmin=30`, `network=unet6`.
        weights: what a method has learnt: a file that `cmbml export` or a training has written, or the name of one that
            comes with the package. Methods that learn need it, unless their config names it; others take none.

    Raises:
        ConfigError: there is no such method or setting.
        MethodError: the weights are missing, broken or not for this method.

    Example:
        >>> nilc = load_method("nilc", "method.fwhm_arcmin=30")
        >>> nilc.name, nilc.settings.fwhm_arcmin
        ('nilc', 30.0)
    """
    config = composed("clean", [f"method={name}", *overrides])
    method = made_of(config, "answering")
    if isinstance(method, TrainedMethod):
        weights = config.get("weights") if weights is None else weights
        if weights is None:
            message = f"{name} learns from simulations: name what it has learnt, weights=FILE.safetensors"
            raise MethodError(message)
        return LoadedMethod(method, read_state(Path(weights)), made_of(config, "hardware"))
    if weights is not None:
        message = f"{name} needs nothing but the observation: it takes no weights"
        raise MethodError(message)
    if not isinstance(method, BlindMethod):
        message = f"method={name}: its class is none that cleans"
        raise ConfigError(message)
    return LoadedMethod(method)


class LoadedMethod:
    """A method, ready to clean.

    Attributes:
        settings: its settings, as its config file names them.
    """

    def __init__(self, method: Method, state: State | None = None, hardware: Hardware | None = None) -> None:
        self.settings: Any = method
        self._state, self._hardware = state, hardware

    def __repr__(self) -> str:
        return f"<method {self.name}: {type(self.settings).__name__}>"

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.settings.name)

    @property
    def card(self) -> Mapping[str, Any]:
        """What is said of the weights: data, splits, seeds, scores, licence, limits; empty where nothing is."""
        return {} if self._state is None else dict(self._state.about.get("card", {}))

    def accepts(self, spec: CaseSpec[Any]) -> MapSpec:
        """Say what the answer would be for such an observation: nside, fields, unit, lmax, beam.

        Raises:
            MethodError: the method cannot clean it; the message says why.
        """
        found: MapSpec = self.settings.accepts(spec)
        return found

    def clean(self, observation: Observation, threads: int | None = None) -> Answer[Any]:
        """Find the CMB in an observation, as the pipeline does.

        Args:
            observation: of `cmbml.observation(...)`, or of `Dataset.observation(...)`.
            threads: CPU threads, all cores by default; they do not change the result, but for a network's rounding.

        Returns:
            `value`, a `SkyMap` in uK_CMB whose `spec` tells its beam; `sigma`, the standard deviation of its error for
            each pixel, or None; `samples`, of methods that draw. Single precision.

        Raises:
            MethodError, MapError: the method cannot clean such maps; the message says why.
        """
        if not isinstance(observation, Case):
            message = f"cmbml.observation(...) makes what can be cleaned; this is {type(observation).__name__}"
            raise MethodError(message)
        method, case = self.settings, observation
        method.accepts(case.spec)
        if isinstance(method, TrainedMethod):
            answer = self._replied(method, case, threads)
        else:
            with TemporaryDirectory() as scratch:
                seen = case if method.needs_truth else replace(case, asked=None)
                answer = method.clean(seen, Path(scratch), threads or n_cores())
        return replace(answer, value=_single(answer.value), sigma=_single(answer.sigma))

    def _replied(self, method: TrainedMethod, case: Observation, threads: int | None) -> Answer[Any]:
        state, hardware = self._state, self._hardware
        if state is None or hardware is None:
            message = f"{self.name} has learnt nothing"
            raise MethodError(message)
        hardware = hardware if threads is None else replace(hardware, threads=threads)
        return asked(method, state, case, hardware)[1]


def _named(instrument: str | Mapping[str, Channel], names: Sequence[str]) -> dict[str, Channel]:
    """Return channels of an instrument.

    Raises:
        ConfigError: it has none of such a name, or there is no such instrument.
    """
    if isinstance(instrument, str):
        plain = made_of(composed("sims", [f"instrument={instrument}"]), "instrument.channels")
        instrument = {name: Channel(**entry) for name, entry in plain.items()}
    if unknown := [name for name in names if name not in instrument]:
        message = f"the instrument has no channel {', '.join(unknown)}; it has {', '.join(instrument)}"
        raise ConfigError(message)
    return {name: instrument[name] for name in names}


def _described(shape: tuple[int, ...], lmax: int | None, frame: Frame) -> MapSpec:
    """Say what maps are that have such a shape.

    Raises:
        MapError: there are no such maps.
    """
    nside = round((shape[1] / 12) ** 0.5)
    if shape[0] not in (1, 3) or not hp.isnsideok(nside, nest=True) or shape[1] != 12 * nside**2:
        message = (
            f"maps of shape {shape} are none of HEALPix: (n_pix,), or (3, n_pix) of I, Q, U, are needed, n_pix being "
            "12 nside^2, nside a power of two"
        )
        raise maps.MapError(message)
    lmax = 3 * nside - 1 if lmax is None else lmax
    if not 2 <= lmax < 3 * nside:
        message = f"lmax={lmax}: maps of nside {nside} hold multipoles from 2 to {3 * nside - 1}"
        raise maps.MapError(message)
    if frame not in get_args(Frame):
        message = f"frame={frame}: allowed are {', '.join(get_args(Frame))}"
        raise maps.MapError(message)
    return MapSpec(nside=nside, fields="I" if shape[0] == 1 else "IQU", lmax=lmax, frame=frame)


def _pixels(values: Any, what: str) -> NDArray[Any]:  # noqa: ANN401
    """Return a map as `(n_field, n_pix)`, in uK_CMB where it says its unit.

    Raises:
        MapError: it is no array of real numbers, parts of it are masked, or it is in another unit.
    """
    factor = 1.0
    if isinstance(values, Quantity):
        try:
            factor = microkelvin(str(values.unit))
        except ValueError as error:
            message = f"{what} is in {values.unit}: bring it to uK_CMB first"
            raise maps.MapError(message) from error
        values = values.value
    if np.ma.is_masked(values):
        message = f"{what} is masked in part: fill the {int(np.ma.getmaskarray(values).sum())} pixels first"
        raise maps.MapError(message)
    found = np.asarray(values)
    if found.dtype.kind not in "fiu" or found.ndim not in (1, 2):
        message = f"{what} is no map of real numbers: {found.dtype}, shape {found.shape}"
        raise maps.MapError(message)
    return np.atleast_2d(found) * factor if factor != 1 else np.atleast_2d(found)


def _single(field: Any) -> Any:  # noqa: ANN401
    return None if field is None else shown(replace(field, values=field.values.astype(np.float32)))


def observation(
    channels: Mapping[str, NDArray[np.floating[Any]]],
    instrument: str | Mapping[str, Channel] = "planck_widened",
    lmax: int | None = None,
    frame: Frame = "G",
    truth: NDArray[np.floating[Any]] | None = None,
) -> Observation:
    """Make an observation of maps in memory.

    Args:
        channels: name of the channel -> its map, RING order, uK_CMB or an astropy quantity in kelvins of the CMB:
            `(n_pix,)`, or `(3, n_pix)` of I, Q, U; all of one nside. Beams stay as they are: they are the method's to
            deal with.
        instrument: what the channels are (frequency, beam, depth): a file in `cfg/instrument/`, or name -> `Channel`.
        lmax: highest multipole of the signal; 3 nside - 1 by default.
        frame: of the maps: G Galactic, C equatorial, E ecliptic.
        truth: the CMB without a beam, for controls, which alone are shown it.

    Raises:
        ConfigError: the instrument has no such channel, or there is no such instrument.
        MapError: maps differ in shape or are none of HEALPix, are in another unit, or a pixel holds no number; there is
            no such frame or lmax.
    """
    if not isinstance(channels, Mapping):
        message = f"channels must name each map, {{'100': MAP, ...}}, and are {type(channels).__name__}"
        raise maps.MapError(message)
    used = _named(instrument, [str(name) for name in channels])
    arrays = {str(name): _pixels(values, f"the map of channel {name}") for name, values in channels.items()}
    if not arrays or len({values.shape for values in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in arrays.items())
        message = f"maps of one shape are needed, one at least; these are: {shapes or 'none'}"
        raise maps.MapError(message)
    asked = _described(next(iter(arrays.values())).shape, lmax, frame)
    specs = {
        name: asked.with_(beam=channel.beam_kind, fwhm_arcmin=channel.fwhm_arcmin) for name, channel in used.items()
    }
    told = None if truth is None else maps.SkyMap(_pixels(truth, "the truth"), asked)
    seen = {name: maps.SkyMap(values, specs[name]) for name, values in arrays.items()}
    return Case(CaseSpec(specs, asked, used), seen, told)
