"""Time the ResUNet, which says what a training and its passes cost, and how fast this machine's convolutions are.

    python benchmarks/uncertainty.py                                   # the shipped sizes, one thread
    python benchmarks/uncertainty.py --device cuda --batch 32          # the published batch

What is said before a long training on a CPU stands on `CPU_GFLOPS` of `cmbml/methods/training/cost.py`: here is how
far that is from what is measured. docs/uncertainty.md has the commands for what trainings are needed for.
"""

import argparse
import time

import torch

from cmbml.methods.resunet import ResUNet
from cmbml.methods.training.cost import CPU_GFLOPS, TRAINING, gflop

SIZES = {
    64: ResUNet(widths=(32, 32, 64, 64, 128, 128, 256), dropout=(0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.3)),
    128: ResUNet(),
    256: ResUNet(),
}
"""Pixels of a patch, and the network that is shipped for them."""


def seconds_a_step(network: torch.nn.Module, batch: int, n_pixels: int, steps: int) -> float:
    """Return the least time that a step of training took."""
    device = next(network.parameters()).device
    features = torch.randn(batch, 3, n_pixels, n_pixels, device=device)
    times = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        network.zero_grad()
        network(features).square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def main() -> None:
    """Time every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--pixels", type=int, nargs="*", default=sorted(SIZES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("pixels  parameters  GFLOP forward  ms a sample in training  GFLOP/s")
    for n_pixels in options.pixels:
        network = SIZES[n_pixels].build(3, 1).to(options.device)
        size = sum(weights.numel() for weights in network.parameters())
        work = gflop(network.eval(), (3, n_pixels, n_pixels))
        took = seconds_a_step(network.train(), options.batch, n_pixels, options.steps) / options.batch
        print(f"{n_pixels:6d}  {size:10,d}  {work:13.2f}  {1000 * took:23.1f}  {TRAINING * work / took:7.1f}")
    print(f"what is told before long trainings on a CPU takes {CPU_GFLOPS:g} GFLOP/s a thread")


if __name__ == "__main__":
    main()
