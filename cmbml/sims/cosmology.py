"""Cosmologies: six-parameter flat LCDM with massive neutrinos, and the sources that simulations draw theirs from."""

from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.settings import PositiveFloat, settings

# Far wider than any posterior: what lies outside is a broken file or a wrong unit, not a cosmology.
BOUNDS: dict[str, tuple[float, float]] = {
    "h0": (20.0, 150.0),
    "ombh2": (0.001, 0.1),
    "omch2": (0.001, 0.99),
    "ns": (0.5, 1.5),
    "tau": (0.01, 0.8),
    "mnu": (0.0, 5.0),
    "a_s": (1e-10, 1e-8),
}


class ChainError(ValueError):
    """A file of a Markov chain that is missing, cannot be read, holds what it must not, or is too short."""


def _inside(name: str) -> Any:  # noqa: ANN401 (pydantic's Field has no public type)
    low, high = BOUNDS[name]
    return Field(ge=low, le=high, allow_inf_nan=False)


@final
@settings
class Cosmology:
    """A flat LCDM cosmology.

    Attributes:
        h0: Hubble constant, km/s/Mpc.
        ombh2: physical density of baryons.
        omch2: physical density of cold dark matter.
        ns: scalar spectral index.
        tau: optical depth of reionisation.
        mnu: sum of the neutrino masses, eV.
        a_s: amplitude of the primordial scalar spectrum at `pivot_per_mpc`.
        pivot_per_mpc: pivot scale, 1/Mpc: 0.002 for WMAP, 0.05 for Planck.
    """

    h0: Annotated[float, _inside("h0")]
    ombh2: Annotated[float, _inside("ombh2")]
    omch2: Annotated[float, _inside("omch2")]
    ns: Annotated[float, _inside("ns")]
    tau: Annotated[float, _inside("tau")]
    mnu: Annotated[float, _inside("mnu")]
    a_s: Annotated[float, _inside("a_s")]
    pivot_per_mpc: PositiveFloat

    def to_dict(self) -> dict[str, float]:
        """Return the parameters as plain numbers, for a YAML file."""
        return {name: float(getattr(self, name)) for name in (*BOUNDS, "pivot_per_mpc")}


class CosmologySource(ABC):
    """Where the cosmologies of a dataset come from.

    Attributes:
        single: whether every draw is the same, so that a whole dataset needs its spectra but once.
    """

    single: ClassVar[bool] = False

    def check(self, n_needed: int) -> None:
        """Make sure, before any work, that the source can give `n_needed` cosmologies.

        Args:
            n_needed: one more than the highest `number` that will be drawn.

        Raises:
            ChainError: a file is missing, unreadable or wrong, or holds too few distinct samples.
        """

    def files(self) -> tuple[Path, ...]:
        """Return the raw files that the cosmologies are read from."""
        return ()

    @abstractmethod
    def draw(self, number: int, rng: np.random.Generator, seed: int) -> Cosmology:
        """Return the cosmology of one simulation.

        Args:
            number: place of the simulation among those of all splits; no two share one.
            rng: the simulation's own source of randomness; used by continuous sources.
            seed: the dataset's seed; it shuffles the samples of a chain, the same way for every simulation.
        """


@final
@settings
class FixedCosmology(CosmologySource):
    """One cosmology for all simulations.

    The default is the best fit to Planck TT,TE,EE+lowE+lensing (Planck 2018 results VI, arXiv:1807.06209, Table 1,
    column Plik best fit).
    """

    single: ClassVar[bool] = True
    h0: Annotated[float, _inside("h0")] = 67.32
    ombh2: Annotated[float, _inside("ombh2")] = 0.022383
    omch2: Annotated[float, _inside("omch2")] = 0.12011
    ns: Annotated[float, _inside("ns")] = 0.96605
    tau: Annotated[float, _inside("tau")] = 0.0543
    mnu: Annotated[float, _inside("mnu")] = 0.06
    a_s: Annotated[float, _inside("a_s")] = 2.1005e-9
    pivot_per_mpc: PositiveFloat = 0.05

    def draw(self, number: int, rng: np.random.Generator, seed: int) -> Cosmology:  # noqa: ARG002
        """Return the cosmology."""
        return Cosmology(**{name: getattr(self, name) for name in (*BOUNDS, "pivot_per_mpc")})


# name, mean, standard deviation: nine-year WMAP data alone, flat LCDM (Hinshaw et al. 2013, arXiv:1212.5226, Table 2).
_WMAP9 = (
    ("ombh2", 0.02264, 0.00050),
    ("omch2", 0.1138, 0.0045),
    ("h0", 70.0, 2.2),
    ("ns", 0.972, 0.013),
    ("tau", 0.089, 0.014),
    ("a_s", 2.41e-9, 0.10e-9),
)
# The paper prints no correlations. These are of 28,800 samples of the public nine-year WMAP likelihood with CAMB,
# amplitude at 0.002/Mpc (an emcee run published at github.com/Cherian-pi/wmap9-desi-joint; R - 1 < 0.015).
_WMAP9_CORRELATIONS = (
    (1.000, -0.285, 0.637, 0.842, 0.313, -0.586),
    (-0.285, 1.000, -0.868, -0.489, -0.259, 0.634),
    (0.637, -0.868, 1.000, 0.735, 0.315, -0.735),
    (0.842, -0.489, 0.735, 1.000, 0.403, -0.740),
    (0.313, -0.259, 0.315, 0.403, 1.000, 0.215),
    (-0.586, 0.634, -0.735, -0.740, 0.215, 1.000),
)


@final
@settings
class EmbeddedCosmology(CosmologySource):
    """A correlated Gaussian with the published WMAP9 means, errors and correlations; it needs no file.

    The neutrino mass is fixed: WMAP's LCDM posterior is for a given mass, and to scatter it alone would move the
    acoustic peaks away from where WMAP saw them. The default is the least that neutrino oscillations allow.

    Attributes:
        mnu: sum of the neutrino masses, eV.
    """

    mnu: Annotated[float, _inside("mnu")] = 0.06

    def draw(self, number: int, rng: np.random.Generator, seed: int) -> Cosmology:  # noqa: ARG002
        """Draw a cosmology from the Gaussian; one beyond `BOUNDS` is drawn again."""
        names, means, sigmas = zip(*_WMAP9, strict=True)
        triangle = np.linalg.cholesky(np.array(_WMAP9_CORRELATIONS))
        while True:
            values = np.array(means) + np.array(sigmas) * (triangle @ rng.standard_normal(len(names)))
            drawn = {name: float(value) for name, value in zip(names, values, strict=True)}
            if all(BOUNDS[name][0] <= value <= BOUNDS[name][1] for name, value in drawn.items()):
                return Cosmology(**drawn, mnu=self.mnu, pivot_per_mpc=0.002)


class _Chain(CosmologySource):
    """Samples of a posterior, drawn without repetition.

    A Markov chain stays at a point when a step is refused, so its distinct points stand for the posterior only
    together with how often they came. Points that repeat exactly are merged and their multiplicities (times the
    chain's own weights) added; the merged points are drawn without replacement, with probability in proportion to
    weight, by exponential keys (Efraimidis and Spirakis 2006). The order depends on the seed alone, so simulations
    that are added later leave the earlier ones as they are.
    """

    @property
    @abstractmethod
    def pivot_per_mpc(self) -> float:
        """Where the chain's amplitude is defined, 1/Mpc."""

    @abstractmethod
    def samples(self) -> "Samples":
        """Read the chain."""

    def check(self, n_needed: int) -> None:
        """Make sure that the chain is sound and has `n_needed` distinct samples."""
        n_distinct = len(self.samples()[0])
        if n_distinct < n_needed:
            message = (
                f"chain {self.files()[0].parent} has {n_distinct} distinct samples, and rows up to {n_needed} are "
                "dealt out to the splits: take fewer simulations, or a continuous source such as cosmology=embedded"
            )
            raise ChainError(message)

    def draw(self, number: int, rng: np.random.Generator, seed: int) -> Cosmology:  # noqa: ARG002
        """Return the sample that stands at `number` in the order that `seed` gives."""
        table, weights = self.samples()
        if number >= len(table):
            self.check(number + 1)
        row = table[_order(weights.tobytes(), seed)[number]]
        parameters = dict(zip(BOUNDS, map(float, row), strict=True))
        return Cosmology(**parameters, pivot_per_mpc=self.pivot_per_mpc)


@final
@settings
class Wmap9Chain(_Chain):
    """A chain in WMAP's layout: one text file per parameter, each row an index and a value.

    The files are `H0`, `omegabh2`, `omegach2`, `ns002`, `tau`, `a002` (10^9 A_s at k = 0.002/Mpc), `mnu` (eV) unless
    the mass is given here, and `weight` where there is one.

    Attributes:
        folder: where the files are.
        mnu: sum of the neutrino masses, eV, for all simulations; None to read it from the chain.
    """

    folder: Path
    mnu: Annotated[float, _inside("mnu")] | None = None

    @property
    def pivot_per_mpc(self) -> float:
        """WMAP's pivot, 0.002 / Mpc."""
        return 0.002

    def files(self) -> tuple[Path, ...]:
        """Return the files of the chain."""
        names = ["H0", "omegabh2", "omegach2", "ns002", "tau", "mnu", "a002"]
        if self.mnu is not None:
            names.remove("mnu")
        if (self.folder / "weight").is_file():
            names.append("weight")
        return tuple(self.folder / name for name in names)

    def samples(self) -> "Samples":
        """Read the chain."""
        return _read_wmap(self.files(), self.mnu)


@final
@settings
class GetdistChain(_Chain):
    """A chain in getdist's (CosmoMC's) layout, such as Planck's: `root_1.txt`, ... and `root.paramnames`.

    Needs omegabh2, omegach2, H0, tau, logA (the logarithm of 10^10 A_s) and ns.

    Attributes:
        root: path of the chain without `_1.txt`.
        burn_in: fraction of each file to leave out at its start; the chains that Planck publishes need none.
        mnu: sum of the neutrino masses, eV, for all simulations; None to read it from the chain's column `mnu`.
        pivot_per_mpc: where the chain's amplitude is defined, 1/Mpc.
    """

    root: Path
    burn_in: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mnu: Annotated[float, _inside("mnu")] | None = None
    pivot_per_mpc: PositiveFloat = 0.05

    def files(self) -> tuple[Path, ...]:
        """Return the files of the chain."""
        numbered = self.root.parent.glob(f"{self.root.name}_[0-9]*.txt")
        ordered = sorted(numbered, key=lambda path: (len(path.name), path.name))
        return (self.root.with_name(self.root.name + ".paramnames"), *ordered)

    def samples(self) -> "Samples":
        """Read the chain."""
        return _read_getdist(self.root, self.files(), self.burn_in, self.mnu)


# The distinct samples, `(n_sample, 7)` in the order of BOUNDS, and their weights, `(n_sample,)`.
Samples = tuple[NDArray[np.float64], NDArray[np.float64]]


@lru_cache(maxsize=2)
def _order(weights: bytes, seed: int) -> NDArray[np.int64]:
    weight = np.frombuffer(weights)
    return np.argsort(np.random.default_rng(seed).standard_exponential(len(weight)) / weight, kind="stable")


@lru_cache(maxsize=2)
def _read_wmap(files: tuple[Path, ...], mnu: float | None) -> Samples:
    columns = {path.name: _read_column(path) for path in files}
    first = files[0].name
    for path in files:
        if len(columns[path.name]) != len(columns[first]):
            message = (
                f"the files of a chain must be of one length: {path} has {len(columns[path.name])} rows, "
                f"{first} has {len(columns[first])}"
            )
            raise ChainError(message)
    n_row = len(columns[first])
    mass = columns["mnu"] if mnu is None else np.full(n_row, mnu)
    direct = [columns[name] for name in ("H0", "omegabh2", "omegach2", "ns002", "tau")]
    return _merge(np.stack([*direct, mass, 1e-9 * columns["a002"]], axis=1), columns.get("weight"), files[0].parent)


def _read_column(path: Path) -> NDArray[np.float64]:
    if not path.is_file():
        hint = "; or give the neutrino mass in the config (cosmology.mnu=0.06)" if path.name == "mnu" else ""
        message = f"there is no file {path}: a chain in WMAP's layout has one for each parameter{hint}"
        raise ChainError(message)
    try:
        rows = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        message = f"{path} is no file of a chain: {error}"
        raise ChainError(message) from error
    if rows.shape[1] != 2 or not len(rows):
        message = f"{path} must have rows of two numbers, index and value; it has {rows.shape[1]} column(s)"
        raise ChainError(message)
    return rows[:, 1]


@lru_cache(maxsize=2)
def _read_getdist(root: Path, files: tuple[Path, ...], burn_in: float, mnu: float | None) -> Samples:
    if not files[0].is_file() or len(files) == 1:
        absent = files[0] if not files[0].is_file() else f"{root}_1.txt"
        message = f"there is no file {absent}: a chain in getdist's layout has ROOT.paramnames and ROOT_1.txt, ..."
        raise ChainError(message)
    # Here, not above: it takes a second to import, and only this source needs it.
    from getdist import chains, loadMCSamples

    chains.print_load_details = False
    names = ["H0", "omegabh2", "omegach2", "ns", "tau", "logA"] + ["mnu"] * (mnu is None)
    try:
        loaded = loadMCSamples(str(root), no_cache=True, settings={"ignore_rows": burn_in})
        known = loaded.getParamNames().list()
        missing = [name for name in names if name not in known]
        columns = {} if missing else {name: loaded[name] for name in names}
    except (OSError, ValueError, IndexError, chains.ParamError, chains.WeightedSampleError) as error:
        message = f"the chain {root} cannot be read: {error}"
        raise ChainError(message) from error
    if missing:
        hint = "; give the neutrino mass in the config (cosmology.mnu=0.06)" if missing == ["mnu"] else ""
        message = f"the chain {root} has no {', '.join(missing)}, but {', '.join(known)}{hint}"
        raise ChainError(message)
    mass = columns["mnu"] if mnu is None else np.full(len(loaded.weights), mnu)
    direct = [columns[name] for name in ("H0", "omegabh2", "omegach2", "ns", "tau")]
    return _merge(np.stack([*direct, mass, 1e-10 * np.exp(columns["logA"])], axis=1), loaded.weights, root)


def _merge(table: NDArray[np.float64], weights: NDArray[np.float64] | None, where: Path) -> Samples:
    """Check the samples of a chain, and merge those that are the same."""
    for name, column in zip(BOUNDS, table.T, strict=True):
        low, high = BOUNDS[name]
        bad = np.flatnonzero(~((column >= low) & (column <= high)))
        if bad.size:
            message = (
                f"chain {where}: {bad.size} sample(s) have an impossible {name}, the first {column[bad[0]]:.6g} in "
                f"row {bad[0] + 1}; it must lie between {low:g} and {high:g}"
            )
            raise ChainError(message)
    weight = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(weight) & (weight >= 0)).all():
        message = f"chain {where}: the weights must be finite and not negative"
        raise ChainError(message)
    used = weight > 0
    distinct, inverse = np.unique(table[used], axis=0, return_inverse=True)
    return distinct, np.bincount(inverse.ravel(), weights=weight[used]).astype(np.float64)
