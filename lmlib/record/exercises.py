"""The exercises of the notebooks: a check that says what is wrong with an answer, not only that it is."""

RIGHT = "Right."


def check(answer, *tests, strict: bool = False) -> None:
    """Say whether the answer to an exercise is right, or else what is wrong with it, and print it.

    Args:
      answer: the reader's: a number, an array, a function …; None while there is none.
      *tests: pairs (test, hint). `test(answer)` is true of a right answer; of the first test that is not, or that raises, the hint is
        printed, so the tests go from the coarse to the fine.
      strict: raise AssertionError instead of printing what is wrong; for the solutions.
    """
    verdict = _verdict(answer, tests)
    assert verdict == RIGHT or not strict, verdict
    print(verdict)


def _verdict(answer, tests):
    if answer is None:
        return "Your turn: there is no answer yet."
    for test, hint in tests:
        try:
            passed, raised = bool(test(answer)), ""
        except Exception as error:  # whatever a reader's function does wrong is news for the reader, not the end of the notebook
            passed, raised = False, f" ({type(error).__name__}: {error})"
        if not passed:
            return f"Not yet: {hint}{raised}"
    return RIGHT
