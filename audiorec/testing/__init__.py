"""The laws of streaming, for modules of this package and of plugins: ``check_laws(lambda: MyEncoder(4, 6))``.

Or one test a law, so that the test's name tells which one broke::

    @pytest.mark.parametrize("law", LAWS)
    def test_law(law):
        check_law(law, lambda: MyEncoder(4, 6))
"""

from audiorec.testing.laws import LAWS, TOLERANCE, Case, check_law, check_laws

__all__ = ["LAWS", "TOLERANCE", "Case", "check_law", "check_laws"]
