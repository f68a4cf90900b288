"""The guards that stand where data enters."""

import errno
import os

import numpy as np
import pytest

from lmlib import errors
from lmlib.errors import ShapeError, StorageError, VocabularyError, as_array, check_ids, check_shape, nearest, storage_errors


def test_every_error_is_an_lmlib_error_and_says_what_it_is():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    assert len(kinds) > 10
    assert all(issubclass(kind, errors.LmlibError) and kind.__doc__ for kind in kinds)


def test_nearest():
    assert nearest("wikitext2", ["wikitext-2", "world"]) == "; did you mean 'wikitext-2'?"
    assert nearest("xyz", ["wikitext-2", "world"]) == nearest("a", []) == ""
    assert nearest(3, [30]) == "; did you mean '30'?"


@pytest.mark.parametrize("ids", [[0, 3], [], np.zeros((2, 3), np.uint8), np.array(2), np.array([3], np.uint64)])
def test_ids_inside_the_vocabulary_come_back(ids):
    if not len(np.shape(ids)) or len(ids):
        np.testing.assert_array_equal(check_ids(ids, 4), ids)
    assert check_ids(np.zeros(0, np.int32), 0).size == 0


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([0, -1], r"ids\[1\] = -1 is outside the vocabulary 0 … 3"),
        ([[0, 1], [4, 5]], r"ids\[1, 0\] = 4 "),
        (np.array([2**63], np.uint64), "= 9223372036854775808 "),
        (np.array(7), r"ids\[\] = 7 "),
    ],
)
def test_the_first_id_outside_is_named(ids, says):
    with pytest.raises(VocabularyError, match=says):
        check_ids(ids, 4)


@pytest.mark.parametrize("ids", [[0.0], [True], ["a"], [None], [2**70], [[1], [1, 2]]])
def test_ids_that_are_no_integers(ids):
    with pytest.raises(ShapeError, match="tokens must be"):
        check_ids(ids, 4, "tokens")


def test_shapes():
    array = np.zeros((2, 3))
    assert check_shape(array, (2, 3)) is check_shape(array, (None, 3)) is array
    for shape, told in (((2, 4), r"\(2, 4\)"), ((2,), r"\(2,\)"), ((None, None, 1), r"\(any, any, 1\)"), ((), r"\(\)")):
        with pytest.raises(ShapeError, match=rf"x has shape \(2, 3\), but {told} is needed"):
            check_shape(array, shape, "x")
    with pytest.raises(ShapeError, match="x must be an array, or rows of equal length"):
        as_array([[1], [1, 2]], "x")


@pytest.mark.parametrize(
    "name", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EEXIST", "EISDIR", "ENOENT", "ENAMETOOLONG", "EIO"]
)
def test_what_the_system_says_of_a_disk_becomes_one_error(name):
    code = getattr(errno, name)
    with pytest.raises(StorageError, match=r"cannot write some/where: .*: ") as caught, storage_errors("some/where"):
        raise OSError(code, os.strerror(code))
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "x"), OSError("x"), KeyError("x"), ValueError("x"), errors.FormatError("x")])
def test_other_errors_pass(error):
    with pytest.raises(type(error), match="x") as caught, storage_errors("some/where"):
        raise error
    assert caught.value is error
