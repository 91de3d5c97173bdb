"""Whether a device multiplies matrices of half precision, rather than converting them first."""

from functools import cache

import torch


@cache
def multiplies(dtype: torch.dtype, device: torch.device) -> bool:
    """Float32 and float64 everywhere; bfloat16 with AVX512-BF16, AMX or a recent GPU; float16 on any GPU."""
    if dtype not in (torch.bfloat16, torch.float16):
        return True
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and dtype == torch.bfloat16 and _cpu_multiplies_bfloat16()


def _cpu_multiplies_bfloat16() -> bool:
    # Neither has a public name yet; a torch without them converts.
    named = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in named)
