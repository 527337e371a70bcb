"""Which device to compute on."""

import torch

from audiorec.errors import UserError


def find_device(name: str | torch.device) -> torch.device:
    """The device ``cpu``, ``cuda``, ``cuda:1``, ``mps`` …; ``auto`` is cuda, else mps, else cpu: the first that works here.

    Raises UserError for a device that this machine, or this build of torch, does not have.
    """
    if name == "auto":
        return next(device for device in map(torch.device, ("cuda", "mps", "cpu")) if _fault(device) is None)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {name!r}: choose auto, cpu, cuda, cuda:1 or mps") from None
    if fault := _fault(device):
        raise UserError(f"device {name}: not usable here ({fault}); choose auto or cpu")
    return device


def _fault(device: torch.device) -> str | None:
    """Why a device cannot compute, or None."""
    try:
        torch.ones(1, device=device).add(1).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch without CUDA raises AssertionError
        return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return None
