"""Whether a device multiplies matrices of half precision, rather than converting them first."""

from functools import cache

import torch


@cache
def multiplies(dtype: torch.dtype, device: torch.device) -> bool:
    """Float32 and float64 everywhere; bfloat16 with AMX or a recent GPU; float16 on any GPU.

    AVX512-BF16 alone does not count: there 64 × 128 by 128 × 16,384 took 1.5 × the time of float32 (torch 2.14).
    """
    if dtype not in (torch.bfloat16, torch.float16):
        return True
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)  # no public name yet; a torch without it converts
    return device.type == "cpu" and dtype == torch.bfloat16 and bool(has_amx())
