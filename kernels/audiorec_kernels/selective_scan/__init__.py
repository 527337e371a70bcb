"""Mamba's selective scan with lengths and states first-class."""

from audiorec_kernels.selective_scan.reference import selective_scan

__all__ = ["selective_scan"]
