"""What a network costs, before it is run."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

CPU_GFLOPS = 25.0
"""Speed of convolutions on one thread of a CPU, GFLOP/s, to a factor of two: see `benchmarks/uncertainty.py`."""
TRAINING = 3.0
"""A step of training costs this many forward passes: one, and two more for the gradients of features and of weights."""


Ask = Callable[[nn.Module, Tensor], object]


def gflop(network: nn.Module, shape: tuple[int, ...], ask: Ask | None = None) -> float:
    """Count the floating-point operations of one forward pass, in thousand millions.

    Args:
        network: on any device; where it is on `meta`, nothing is computed.
        shape: of one sample, channels first.
        ask: asks the network about a sample; None where a call does.
    """
    device = next((weights.device for weights in network.parameters()), torch.device("cpu"))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        sample = torch.zeros((1, *shape), device=device)
        ask(network, sample) if ask is not None else network(sample)
    return float(counter.get_total_flops()) / 1e9


def seconds_on_cpu(work: float, threads: int) -> float:
    """Say about how long a CPU takes for so many thousand million operations."""
    return work / (CPU_GFLOPS * threads)
