"""A pretended GPU: tensors that say `cuda:0` and hold real numbers on the CPU. See `PretendedGpu`.

It alters torch for its process, and for good: give it one of its own.
"""

from tests.support.pretended_gpu.device import PretendedGpu
from tests.support.pretended_gpu.tensor import CudaTensor

__all__ = ["CudaTensor", "PretendedGpu"]
