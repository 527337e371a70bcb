"""Transcripts that a machine made: which are left out, and for what."""

import pytest

from audiorec.data.filters import Filters, Said, repeats, sift


@pytest.mark.parametrize(
    "text, times",
    [
        ("", 1),
        ("two", 1),
        ("two two nine two", 2),
        ("thank you thank you thank you so much", 3),
        ("so a b c a b c a b", 2),
        ("no " * 40, 40),
        (("one two three four five six seven eight nine ten eleven " * 2), 1),
    ],
)
def test_repeats_of_words_and_of_phrases_are_counted(text, times):
    assert repeats(text.split()) == times


@pytest.mark.parametrize(
    "filters, said, seconds, fault",
    [
        (Filters(), Said("two " * 50, 0.0), 0.1, None),
        (Filters(), Said(" "), 1.0, "empty"),
        (Filters(), None, 1.0, "without a text"),
        (Filters(allow_empty_text=True, letters_per_second=(3, 9), min_confidence=0.5), Said(""), 1.0, None),
        (Filters(min_seconds=1), Said("two"), 0.9, "too short"),
        (Filters(max_seconds=1), Said("two"), 1.1, "too long"),
        (Filters(min_seconds=1, max_seconds=1), Said("two"), 1.0, None),
        (Filters(max_repeats=2), Said("two two nine"), 1.0, None),
        (Filters(max_repeats=2), Said("two two two"), 1.0, "repeating themselves"),
        (Filters(letters_per_second=(3, 9)), Said("two two"), 2.0, None),
        (Filters(letters_per_second=(3, 9)), Said("two two"), 2.1, "too slow"),
        (Filters(letters_per_second=(3, 9)), Said("two two two two"), 1.0, "too fast"),
        (Filters(min_confidence=0.5), Said("two", 0.4), 1.0, "unsure"),
        (Filters(min_confidence=0.5), Said("two", 0.5), 1.0, None),
    ],
)
def test_a_transcript_is_kept_or_its_first_fault_is_named(filters, said, seconds, fault):
    assert filters.fault(said, seconds) == fault


def test_all_are_counted():
    seconds = {"a": 1.0, "b": 1.0, "c": 9.0, "d": 1.0}
    texts = {"a": Said("one"), "b": Said(""), "c": Said("two")}
    kept, faults = sift(texts, seconds, Filters(max_seconds=5))
    assert kept == ["a"] and faults == {"empty": 1, "too long": 1, "without a text": 1}
