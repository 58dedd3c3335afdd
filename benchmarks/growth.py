"""How what a comparison ends with grows with the number of simulations: seconds, memory, page and bundle.

    python benchmarks/growth.py --simulations 500 1500 5000 --methods 2

Each size runs in a process of its own: the tables of all simulations are written and read as the stages do it, then put
together, summarised, drawn and laid out as a page. Scores and spectra are those of a comparison at nside 16, with a
scatter of their own in every simulation. Printed are also the exponents between the sizes: 1 is linear.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cmbml.core.handler import Stamp
from cmbml.figures.comparison import spectra_comparison, transfer_figure
from cmbml.figures.report import ReportData, render_report
from cmbml.figures.scores import distributions_figure
from cmbml.handlers.rows import Rows, StackFile
from cmbml.handlers.text import TextFile
from cmbml.metrics.pixel import PIXEL_METRICS
from cmbml.metrics.scores import WORDS, Score, ScoreBook, score_columns
from cmbml.metrics.summary import SummaryRow, summarise
from cmbml.metrics.verdict import About, verdict
from cmbml.stages.analysis.summary import Decisive, bundle
from cmbml.tables import Columns, Stack

FOOTINGS = ("deconvolved", "20.6 arcmin", "60 arcmin")
REGIONS = ("mask", "b0-5", "b5-30", "b30-90")
STAMP = Stamp("growth", "0" * 64)
SPECTRA = (
    "l_low", "l_high", "l_eff", "n_modes", "d_truth", "d_prediction", "d_cross", "d_residual", "d_theory",
    "cosmic_variance", "transfer", "correlation", "bias_sigma",
)  # fmt: skip


def main() -> None:
    """Measure every size and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--simulations", type=int, nargs="+", default=[500, 1500, 5000])
    parser.add_argument("--methods", type=int, default=2)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(json.dumps(measure(options.simulations[0], options.methods)))
        return
    found = {n: _in_its_own_process(n, options.methods) for n in options.simulations}
    names = list(next(iter(found.values())))
    exponents = "exponent" if len(found) > 1 else ""
    sys.stdout.write(f"{options.methods} methods{'':22}{''.join(f'{n:>10}' for n in found)}{exponents:>10}\n")
    for name in names:
        values = [of[name] for of in found.values()]
        sizes = list(found)
        power = math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0]) if exponents else math.nan
        last = f"{power:10.2f}" if exponents else ""
        sys.stdout.write(f"{name:31}{''.join(f'{value:10.2f}' for value in values)}{last}\n")


def _in_its_own_process(n_sim: int, n_method: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", "--simulations", str(n_sim), "--methods", str(n_method)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def measure(n_sim: int, n_method: int) -> dict[str, float]:
    """Return what -> seconds, MB."""
    with tempfile.TemporaryDirectory() as name:
        folder, took = Path(name), {}
        _write(folder, n_sim, n_method)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        scores, spectra = (_gathered(folder, what, n_sim, n_method) for what in ("scores", "spectra"))
        took["gather (s)"] = time.perf_counter() - start
        book = ScoreBook(scores)
        decisive = Decisive(footing="60 arcmin")
        took["summary (s)"], rows = _timed(lambda: summarise(book))
        took["verdict (s)"], said = _timed(
            lambda: verdict(book, About("nside 16", ("100",), "", 1, "test"), decisive.place)
        )
        took["bundle (s)"], text = _timed(lambda: bundle(book))
        took["figures (s)"], _ = _timed(lambda: _draw(scores, spectra))
        took["page (s)"], page = _timed(lambda: _page(book, spectra, rows, said))
        took["all (s)"] = sum(took.values())
        took["memory above the start (MB)"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        TextFile(".json.gz").write(folder / "b.json.gz", text, STAMP)
        took["bundle (MB)"] = (folder / "b.json.gz").stat().st_size / 1e6
        took["page (MB)"] = len(page) / 1e6
    return took


def _timed(work):  # noqa: ANN001, ANN202
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _score_table(rng: np.random.Generator) -> Columns:
    scores = [
        Score(metric, footing, "I", region, float(rng.gamma(50)), floor=1.0, noise_floor=0.5, count=1000)
        for footing in FOOTINGS
        for region in REGIONS
        for metric in PIXEL_METRICS
    ]
    return score_columns(scores)


def _spectra_table(rng: np.random.Generator, n_bin: int = 4) -> Columns:
    words = {"kind": np.repeat(["pseudo", "master"], n_bin), "field": np.full(2 * n_bin, "TT")}
    fixed = {name: np.tile(np.arange(1.0, n_bin + 1), 2) for name in SPECTRA[:4]}
    free = {name: rng.gamma(50, size=2 * n_bin) for name in SPECTRA[4:]}
    return words | fixed | free | {"correlation": rng.uniform(0.9, 1, 2 * n_bin)}


HANDLERS = {"scores": Rows(*WORDS), "spectra": Rows("kind", "field")}


def _write(folder: Path, n_sim: int, n_method: int) -> None:
    rng = np.random.default_rng(1)
    for method in range(n_method):
        for sim in range(n_sim):
            for what, table in (("scores", _score_table(rng)), ("spectra", _spectra_table(rng))):
                HANDLERS[what].write(folder / f"{what}_{method}_{sim}.csv", table, STAMP)


def _gathered(folder: Path, what: str, n_sim: int, n_method: int) -> dict[str, Stack]:
    """Read all tables, put them together, and read them as those that follow do."""
    found = {}
    for method in range(n_method):

        def tables(method: int = method) -> Iterator[tuple[str, Columns]]:
            for sim in range(n_sim):
                table = HANDLERS[what].read(folder / f"{what}_{method}_{sim}.csv")
                yield f"sim{sim:05d}", {name: column for name, column in table.items() if name != "sky"}

        facts = {
            "sky": [f"test_{i}" for i in range(n_sim)],
            "map": [json.dumps({"nside": 16, "values_sha256": f"{i:064x}"}) for i in range(n_sim)],
            "inference_seconds": ["0.5"] * n_sim,
        }
        StackFile().write(folder / f"{what}_{method}.npz", Stack.of(tables(), facts), STAMP)
        found[f"method_{method}"] = StackFile().read(folder / f"{what}_{method}.npz")
    return found


def _draw(scores: dict[str, Stack], spectra: dict[str, Stack]) -> None:
    methods = list(scores)
    distributions_figure(scores, methods, "rmse").savefig("/dev/null", format="png")
    spectra_comparison(spectra, methods, None).savefig("/dev/null", format="png")
    transfer_figure(spectra, methods).savefig("/dev/null", format="png")


def _page(book: ScoreBook, spectra: dict[str, Stack], rows: list[SummaryRow], said: dict[str, str]) -> str:
    summary = {name: np.array([getattr(row, name) for row in rows]) for name in SummaryRow.__dataclass_fields__}
    methods = list(book.stacks)
    return render_report(
        ReportData(title="growth", methods=methods, summary=summary, scores=book.stacks, verdict=said, spectra=spectra)
    )


if __name__ == "__main__":
    main()
