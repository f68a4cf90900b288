"""A check tells the reader the first thing that is wrong, whatever the answer does."""

import pytest

from lmlib.record.exercises import check

TESTS = [(lambda f: f(1) == 2, "f(1) must be 2"), (lambda f: f(-1) == 0, "try a negative number")]


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (None, False, "Your turn: there is no answer yet."),
        (lambda x: x + 1, True, "Right."),
        (lambda x: 0, False, "Not yet: f(1) must be 2"),
        (lambda x: abs(x) + 1, False, "Not yet: try a negative number"),
        (lambda x: 1 / 0, False, "Not yet: f(1) must be 2 (ZeroDivisionError: division by zero)"),
        (7, False, "Not yet: f(1) must be 2 (TypeError: 'int' object is not callable)"),
    ],
)
def test_it_says_what_is_wrong(answer, right, said, capsys):
    assert check(answer, *TESTS) is right
    assert capsys.readouterr().out == said + "\n"


def test_a_zero_is_an_answer(capsys):
    assert check(0, (lambda x: x == 0, "0"))
