"""Controls of generators: what is reached by knowing the spectrum of the patches, and by knowing the patches."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.generators.case import PatchDraws
from cmbml.methods.trained import Arrays, Hardware, Lesson, Reply, State, Trained, TrainedMethod, plain
from cmbml.settings import settings
from cmbml.sky.case import CaseSpec
from cmbml.sky.flat import flat_spectra, gaussian_patches, ring_edges
from cmbml.sky.patches import PatchSpec

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
ROUNDS, TRIALS = 6, 128
"""How often the spectrum that is drawn from is corrected, and by how many draws, for it to give that of the patches.

Window and mean of a patch take power from its lowest ring, and the window gives it to others.
"""


@settings
class PatchControl(TrainedMethod):
    """Keep something of the training patches, and draw from it."""

    examples: PatchDraws

    def about(self, spec: CaseSpec[PatchSpec]) -> dict[str, Any]:
        """Say what is drawn, of which patches."""
        return {"settings": plain(self, "name", "examples"), "observations": self.examples.describe(spec)}

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:  # noqa: ARG002
        """Keep it."""
        arrays = self.kept(lesson.train[1], lesson.spec.asked)
        about = {
            "method": self.name,
            "settings": plain(self, "name"),
            "holds_for": self.about(lesson.spec),
            "training": {"samples": len(lesson.names)},
        }
        return Trained(State(arrays, about), {}, {"n_parameters": sum(array.size for array in arrays.values())})

    @abstractmethod
    def kept(self, patches: Arrays, spec: PatchSpec) -> dict[str, NDArray[Any]]:
        """Return what is kept of the decimal logarithms of patches, `(1, height, width)` each."""

    @abstractmethod
    def drawn(self, kept: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> Float64:
        """Draw one, `(1, height, width)`."""

    def predict(self, state: State, features: Iterable[Float32], hardware: Hardware) -> Iterator[Reply]:  # noqa: ARG002
        """Draw a patch for each sample, which is its seed."""
        for sample in features:
            rng = np.random.default_rng(np.frombuffer(sample.tobytes(), np.uint32).tolist())
            yield Reply(self.drawn(state.arrays, rng).astype(np.float32))

    def state_bytes(self, spec: CaseSpec[PatchSpec]) -> int:
        """Return the size of a thousand patches, the most that there should be."""
        return 4000 * spec.asked.height * spec.asked.width


@final
@settings
class Lognormal(PatchControl):
    """Gaussian fields as logarithms, with the mean spectrum of real ones: nothing but their second moments is known.

    Attributes:
        means: of patches, drawn from a `gaussian`, or from those of the `training` patches.
    """

    means: Literal["gaussian", "training"] = "gaussian"

    def kept(self, patches: Arrays, spec: PatchSpec) -> dict[str, NDArray[Any]]:
        """Keep the spectrum and the means."""
        images = np.stack([patch[0] for patch in patches]).astype(np.float64)
        means, shape = images.mean(axis=(1, 2)), (spec.height, spec.width)
        sides = np.radians(spec.sides_deg)
        pixel = (float(sides[0] / spec.height), float(sides[1] / spec.width))
        edges = ring_edges(shape, pixel)
        real = flat_spectra(images, edges, pixel)
        wanted, ell = real.c_ell.mean(axis=0), real.l_mean
        table = np.arange(int(np.ceil(np.sqrt(2) * edges[-1])) + 1)
        tried = wanted.copy()
        for _ in range(ROUNDS):
            # A power law goes on beyond the lowest and the highest ring.
            slope = np.polyfit(np.log(ell), np.log(tried), 1)[0]
            full = np.exp(np.interp(np.log(np.maximum(table, 1)), np.log(ell), np.log(tried)))
            full *= np.where(table > ell[-1], (np.maximum(table, 1) / ell[-1]) ** slope, 1.0)
            full *= np.where(table < ell[0], (np.maximum(table, 1) / ell[0]) ** max(slope, -3.0), 1.0)
            # The same white noise in each round, so that only the spectrum changes.
            trials = gaussian_patches(full, TRIALS, shape, pixel, np.random.default_rng(0))[:, 0]
            tried = tried * wanted / flat_spectra(trials, edges, pixel).c_ell.mean(axis=0)
        return {"c_ell": full, "means": means, "shape": np.array(shape), "pixel_rad": np.array(pixel)}

    def drawn(self, kept: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> Float64:
        """Draw a Gaussian field, and its mean."""
        (height, width), (rows, columns) = kept["shape"].tolist(), kept["pixel_rad"].tolist()
        field = gaussian_patches(kept["c_ell"], 1, (height, width), (rows, columns), rng)[0]
        means = kept["means"]
        mean = rng.choice(means) if self.means == "training" else rng.normal(means.mean(), means.std())
        found: Float64 = field - field.mean() + mean
        return found


@final
@settings
class Resampled(PatchControl):
    """Real training patches, turned and mirrored: nothing is made up, and nothing is new."""

    def kept(self, patches: Arrays, spec: PatchSpec) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Keep all patches."""
        return {"patches": np.stack([*patches]).astype(np.float32)}

    def drawn(self, kept: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> Float64:
        """Draw one of them, and how it lies."""
        patch = kept["patches"][rng.integers(len(kept["patches"]))]
        return self.examples.turned(patch, int(rng.integers(8)), 1).astype(np.float64)
