"""Time the outermost layers of cmbNNCS's UNet8 as they are published, and folded into convolutions of stride 1.

    python benchmarks/folding.py --nside 128 --compile
    python benchmarks/folding.py --nside 512 --batch 12 --device cuda --precision bf16 --compile

Forward and backward pass, in turns; compare ratios of one run.
"""

import argparse
import time

import torch

from cmbml.methods.training.folding import DoublingConv2d, HalvingConv2d, fold

HALF = {"32": None, "bf16": torch.bfloat16}


def seconds(layer: torch.nn.Module, planes: torch.Tensor, half: torch.dtype | None) -> float:
    """Time a forward and a backward pass: on a CPU that of the processor, as others may use it, too."""
    on_cuda, clock = planes.is_cuda, time.perf_counter if planes.is_cuda else time.process_time
    if on_cuda:
        torch.cuda.synchronize()
    started = clock()
    with torch.autocast(planes.device.type, dtype=half, enabled=half is not None):
        answer = layer(planes)
    answer.backward(torch.ones_like(answer))
    if on_cuda:
        torch.cuda.synchronize()
    return clock() - started


def main() -> None:
    """Time both, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="32", choices=list(HALF))
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    side = (4 * arguments.nside, 3 * arguments.nside)
    # The first one is not asked for the gradient of what it is shown.
    for name, kind, channels, size, needs in (
        ("first", HalvingConv2d, (arguments.channels, 16), side, False),
        ("last", DoublingConv2d, (32, 1), (side[0] // 2, side[1] // 2), True),
    ):
        planes = torch.randn(arguments.batch, channels[0], *size, device=arguments.device)
        planes = planes.contiguous(memory_format=torch.channels_last).requires_grad_(needs)
        layers = [
            kind(*channels, 5, foldable=True).to(arguments.device, memory_format=torch.channels_last) for _ in "ab"
        ]
        fold(layers[1])
        timed = [torch.compile(layer) for layer in layers] if arguments.compile else layers
        times = [
            [seconds(layer, planes, HALF[arguments.precision]) for layer in timed] for _ in range(arguments.rounds)
        ]
        plain, folded = (min(column) for column in zip(*times[2:], strict=True))
        print(
            f"{name:5s}   published {plain:8.4f} s   folded {folded:8.4f} s   published / folded {plain / folded:5.2f}"
        )


if __name__ == "__main__":
    main()
