"""Sums over the paths of a transducer's lattice."""

from audiorec_kernels.lattice.op import arc_lattice, transducer_lattice

__all__ = ["arc_lattice", "transducer_lattice"]
