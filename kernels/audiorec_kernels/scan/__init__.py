"""First-order linear recurrences with lengths and states first-class."""

from audiorec_kernels.scan.reference import linear_scan, log_linear_scan

__all__ = ["linear_scan", "log_linear_scan"]
