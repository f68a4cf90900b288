"""The exercises of the notebooks: a check that says what is wrong with an answer, not only that it is."""


def check(answer, *tests) -> bool:
    """Say whether the answer to an exercise is right, or else what is wrong with it, and print it.

    Args:
      answer: the reader's: a number, an array, a function …; None while there is none.
      *tests: pairs (test, hint). `test(answer)` is true of a right answer; of the first test that is not, or that raises, the hint is
        printed, so the tests go from the coarse to the fine.

    Returns:
      Whether the answer is right.
    """
    if answer is None:
        print("Your turn: there is no answer yet.")
        return False
    for test, hint in tests:
        try:
            passed, raised = bool(test(answer)), ""
        except Exception as error:  # whatever a reader's function does wrong is news for the reader, not the end of the notebook
            passed, raised = False, f" ({type(error).__name__}: {error})"
        if not passed:
            print(f"Not yet: {hint}{raised}")
            return False
    print("Right.")
    return True
