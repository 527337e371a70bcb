"""How far words in one CTM are from those in another: python tools/bench/times.py REFERENCE.ctm WORDS.ctm …

egs/digits/local/prepare.py writes the reference of its dev and test beside their texts, as words.ctm; `audiorec decode` and
`audiorec align` write words.ctm of what they find. Only utterances of which all words agree are compared.
"""

import sys

from audiorec.errors import UserError
from audiorec.evaluation.ctm import read_ctm
from audiorec.evaluation.times import time_errors


def main(reference: str, *given: str) -> None:
    print("| words | utterances | words | begin: mean error, s | median | end: mean error, s | median |")
    print("|---|---|---|---|---|---|---|")
    for path in given:
        e = time_errors(read_ctm(reference), read_ctm(path))
        errors = f"{e.begin_mean:.3f} | {e.begin_median:.3f} | {e.end_mean:.3f} | {e.end_median:.3f}"
        print(f"| {path} | {e.utterances} of {e.total} | {e.words} | {errors} |")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
