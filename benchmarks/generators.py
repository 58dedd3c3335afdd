"""Train generators on a real map of dust through the programs, and compare them: a GAN, a flow, and controls.

    CMBML_ASSETS=FOLDER python benchmarks/generators.py --root /tmp/dust --seeds 0 1 2 --gan-epochs 100 --flow-epochs 80
    python benchmarks/generators.py --root /tmp/dust --print     # only the commands

Everything is a call of a program with overrides of its config; what is finished is not done again. The map is Planck's
E(B-V) (cfg/dust/file.yaml), the north is learnt from, and north and south are judged. The table is
ROOT/dust/populations/population_table.md, the figures stand beside it.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CONTROLS = ("control_lognormal", "control_real")


def commands(args: argparse.Namespace) -> Iterator[list[str]]:
    """Yield what is typed, program first."""
    base = [f"system.root={args.root}", "dataset=dust", "runner.threads=1"]
    hardware = [f"hardware.threads={args.threads}"] if args.threads else []
    yield ["main_sims.py", *base, "stages=dust_patches", "dust=file", f"patches.layout.n_pixels={args.pixels}"]
    for control in CONTROLS:
        yield ["main_generate.py", *base, *hardware, f"method={control}"]
    lengths = {"dcgan": args.gan_epochs, "dust_flow": args.flow_epochs}
    names = list(CONTROLS)
    for seed in args.seeds:
        for method, epochs in lengths.items():
            names.append(f"{method}_{seed}")
            words = [f"method={method}", f"method.name={names[-1]}", f"method.train.seed={seed}"]
            words += [f"method.train.epochs={epochs}"]
            if method == "dcgan":
                words += [f"method.network.features={args.features}"]
            yield ["main_generate.py", *base, *hardware, *words]
    yield ["main_analysis.py", *base, "stages=population", f"methods=[{','.join(names)}]"]


def main() -> None:
    """Run all commands, or print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder for the dataset")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of trainings")
    parser.add_argument("--pixels", type=int, default=64, help="side of a patch")
    parser.add_argument("--features", type=int, default=16, help="of the GAN's outermost convolutions")
    parser.add_argument("--gan-epochs", type=int, default=100, help="of 50 steps")
    parser.add_argument("--flow-epochs", type=int, default=80, help="of 100 steps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of networks; 0: all cores")
    parser.add_argument("--print", action="store_true", help="print the commands, and stop")
    args = parser.parse_args()
    for words in commands(args):
        print("python", *words, flush=True)
        if not args.print:
            subprocess.run([sys.executable, str(HERE / words[0]), *words[1:]], check=True, cwd=HERE)


if __name__ == "__main__":
    main()
