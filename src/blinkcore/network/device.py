"""Where a network runs, and in which precision."""

from __future__ import annotations

import torch

DEVICES = "auto, cpu, cuda, cuda:1 or mps"


def pick_device(device: str) -> str:
    """Choose where to compute.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        "auto" takes a CUDA device if there is one; "cuda:1" is the second one.

    Returns
    -------
    str
        For PyTorch.

    Raises
    ------
    ValueError
        If it is not one of these, or is not available.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    kind, _, number = device.partition(":")
    if kind not in available or (":" in device and not number.isdecimal()):
        raise ValueError(f"device must be {DEVICES}, got {device!r}")
    is_there = not number or int(number) < torch.cuda.device_count()
    if not (available[kind] and (kind != "cuda" or is_there)):
        raise ValueError(f"device {device!r} is not available here; choose cpu or auto")
    return device


def half_precision(device: str) -> torch.dtype | None:
    """Choose the half precision in which a device is faster than in single precision.

    Parameters
    ----------
    device : str
        For PyTorch.

    Returns
    -------
    torch.dtype or None
        float16 on a CUDA GPU, bfloat16 on a CPU with instructions for it (AVX-512 BF16:
        Intel since 2020, AMD since 2022), else None.
    """
    if device.startswith("cuda"):
        return torch.float16
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if device == "cpu" and has_bfloat16() else None


def get_threads() -> int:
    """Return the number of threads on a CPU."""
    return torch.get_num_threads()


def set_threads(n_threads: int) -> None:
    """Set the number of threads on a CPU; the last bits of half precision depend on it."""
    torch.set_num_threads(n_threads)
