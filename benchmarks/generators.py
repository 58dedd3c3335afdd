"""Train generators on a real map of dust through the programs, and compare them: a GAN, a flow, and controls.

    CMBML_ASSETS=FOLDER python benchmarks/generators.py --root /tmp/dust --seeds 0 1 2 --gan-epochs 100 --flow-epochs 80
    python benchmarks/generators.py --root /tmp/dust --print     # only the commands
    python benchmarks/generators.py --root /tmp/dust --table     # only the table of what is there

Everything is a call of a program with overrides of its config: what is finished is not done again, and a training that
was killed goes on from its last checkpoint when the same command is given again. Seeds and generators may be added one
by one: all that are there are compared. The map is Planck's E(B-V) (cfg/dust/file.yaml), the north is learnt from, and
north and south are judged. At the end a table stands beside what was measured on 1034 patches of the same map. More is
in ROOT/dust/populations/population_table.md, on the page ROOT/dust/report/test/report.html, and in the figures beside.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

HERE = Path(__file__).resolve().parent.parent
CONTROLS = ("control_lognormal", "control_real")
GENERATORS = ("dcgan", "dust_flow")
COLUMNS = ("frechet", "histogram", "gap_v0", "gap_v1", "gap_v2", "texture_v1", "texture_v2")
MEASURED = {
    "real against its bootstrap": ("0.04", "", ".01", ".02", ".04"),
    "random halves (they overlap)": ("0.02", "", "", "", ""),
    "north against south": ("3.29", ".894", ".08", ".14", ".21"),
    "lognormal sky of the same C_l": ("3.2-3.7", ".87", ".20", ".26-.33", ".52-.57"),
    "lognormal, patch means shuffled": ("1.6", ".96", "", "", ""),
    "GAN, as published": ("", ".94", "", "", ""),
}
"""What was measured of all 1034 patches at 64 pixels, over patches; V1 and V2 may be scaled otherwise than in ours.

The published number is that of Aylor et al. (2019), of Planck's map at 353 GHz at 256 pixels."""


def commands(args: argparse.Namespace) -> Iterator[list[str]]:
    """Yield what is typed, program first."""
    base = [f"system.root={args.root}", "dataset=dust", "runner.threads=1"]
    hardware = [f"hardware.threads={args.threads}"] if args.threads else []
    yield ["main_sims.py", *base, "stages=dust_patches", "dust=file", f"patches.layout.n_pixels={args.pixels}"]
    for control in CONTROLS:
        yield ["main_generate.py", *base, *hardware, f"method={control}"]
    lengths = {"dcgan": args.gan_epochs, "dust_flow": args.flow_epochs}
    for seed in args.seeds:
        for method in args.methods:
            words = [f"method={method}", f"method.name={method}_{seed}", f"method.train.seed={seed}"]
            words += [f"method.train.epochs={lengths[method]}", f"method.train.precision={args.precision}"]
            if method == "dcgan":
                words += [f"method.network.features={args.features}"]
            yield ["main_generate.py", *base, *hardware, *words]
    yield ["main_analysis.py", *base, "stages=population", f"methods=[{','.join(compared(args))}]"]


def compared(args: argparse.Namespace) -> list[str]:
    """Return the methods to compare: controls, what is asked for, and whatever was finished before."""
    asked = [f"{method}_{seed}" for seed in args.seeds for method in args.methods]
    there = Path(args.root).glob("dust/clean/*/test/sim0000/cleaned_map.fits")
    known = [path.parents[2].name for path in there]
    more = sorted(name for name in known if name.rpartition("_")[0] in GENERATORS and name not in asked)
    return [*CONTROLS, *asked, *more]


def table(root: str) -> str:
    """Lay out how far every set is from real patches, with the scatter over seeds, beside what was measured."""
    rows = Table.read(Path(root) / "dust/populations/population.ecsv")
    found = {(str(row["set"]), str(row["against"]), str(row["statistic"])): float(row["value"]) for row in rows}
    sets = list(dict.fromkeys((name, against) for name, against, _ in found))
    groups: dict[tuple[str, str], list[str]] = {}
    for name, against in sets:
        kind = name.rpartition("_")[0]
        groups.setdefault((kind if kind in GENERATORS else name, against), []).append(name)
    lines = [_line(("set", "against", "seeds", *COLUMNS)), _line(("---",) * (3 + len(COLUMNS)))]
    for (kind, against), names in groups.items():
        cells = [_cell([found[name, against, column] for name in names]) for column in COLUMNS]
        lines.append(_line((kind, against, str(len(names)) if kind in GENERATORS else "", *cells)))
    empty = len(COLUMNS) - len(next(iter(MEASURED.values())))
    lines += [_line((f"measured: {name}", "", "", *cells, *[""] * empty)) for name, cells in MEASURED.items()]
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3g}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.2g}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run all commands, or print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder for the dataset")
    parser.add_argument("--methods", choices=GENERATORS, nargs="*", default=GENERATORS, help="which are trained")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of trainings")
    parser.add_argument("--pixels", type=int, default=64, help="side of a patch")
    parser.add_argument("--features", type=int, default=16, help="of the GAN's outermost convolutions")
    parser.add_argument("--gan-epochs", type=int, default=100, help="of 50 steps")
    parser.add_argument("--flow-epochs", type=int, default=80, help="of 100 steps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of networks; 0: all cores")
    precisions = ("32-true", "bf16-mixed")
    parser.add_argument("--precision", choices=precisions, default=precisions[0], help="bf16-mixed: for CPUs with AMX")
    parser.add_argument("--print", action="store_true", help="print the commands, and stop")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, and stop")
    args = parser.parse_args()
    for words in () if args.table else commands(args):
        print("python", *words, flush=True)
        if not args.print:
            subprocess.run([sys.executable, str(HERE / words[0]), *words[1:]], check=True, cwd=HERE)
    if not args.print:
        print(table(args.root))


if __name__ == "__main__":
    main()
