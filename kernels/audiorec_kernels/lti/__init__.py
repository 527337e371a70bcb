"""Linear time-invariant memories with lengths and states first-class."""

from audiorec_kernels.lti.reference import lti_scan

__all__ = ["lti_scan"]
