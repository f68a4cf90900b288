"""A check tells the reader the first thing that is wrong, whatever the answer does."""

import pytest

from lmlib.record.exercises import check

TESTS = [(lambda f: f(1) == 2, "f(1) must be 2"), (lambda f: f(-1) == 0, "try a negative number")]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "Your turn: there is no answer yet."),
        (lambda x: x + 1, "Right."),
        (lambda x: 0, "Not yet: f(1) must be 2"),
        (lambda x: abs(x) + 1, "Not yet: try a negative number"),
        (lambda x: 1 / 0, "Not yet: f(1) must be 2 (ZeroDivisionError: division by zero)"),
        (7, "Not yet: f(1) must be 2 (TypeError: 'int' object is not callable)"),
    ],
)
def test_it_says_what_is_wrong(answer, said, capsys):
    check(answer, *TESTS)
    assert capsys.readouterr().out == said + "\n"


def test_a_zero_is_an_answer(capsys):
    check(0, (lambda x: x == 0, "0"))
    assert capsys.readouterr().out == "Right.\n"


def test_a_wrong_solution_is_an_error():
    check(lambda x: x + 1, *TESTS, strict=True)
    with pytest.raises(AssertionError, match="try a negative number"):
        check(lambda x: abs(x) + 1, *TESTS, strict=True)
