"""``audiorec_kernels`` hands out its public functions by name, and imports a family when one is asked for."""

import subprocess
import sys
from importlib import import_module

import audiorec_kernels
import pytest

FAMILIES = ("scan", "ssm", "lti", "rnn", "conv", "lattice", "product")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_public_function_of_a_family_is_the_packages(family):
    module = import_module(f"audiorec_kernels.{family}")
    for name in module.__all__:
        assert name in audiorec_kernels.__all__ and name in dir(audiorec_kernels)
        assert getattr(audiorec_kernels, name) is getattr(module, name)


def test_no_name_is_left_over():
    functions = {name for family in FAMILIES for name in import_module(f"audiorec_kernels.{family}").__all__}
    assert set(audiorec_kernels.__all__) == functions | {"backend", "full_precision"}


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="audiorec_kernels has no 'linear_skan'"):
        audiorec_kernels.linear_skan  # noqa: B018


def test_a_family_is_imported_when_it_is_asked_for():
    script = """if True:
        import sys, audiorec_kernels
        families = lambda: {name for name in sys.modules if name.startswith("audiorec_kernels.scan")}
        assert not families()
        from audiorec_kernels import linear_scan
        assert families()
        assert callable(audiorec_kernels.selective_scan)
    """
    subprocess.run([sys.executable, "-c", script], check=True)
