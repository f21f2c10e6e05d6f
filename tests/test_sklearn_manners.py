# SPDX-License-Identifier: GPL-3.0-or-later
"""What scikit-learn's pipelines and tools expect of an estimator."""

import numpy as np
import pytest
from estimators import QUICK
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

from py4dstem_rrvae import RRVAE


class Tabular(RRVAE):
    """Takes scikit-learn's tables of a few numbers: each row becomes a pattern that shows them."""

    def _source(self, frames):
        return super()._source(self._patterns(frames))

    def _encoder(self, frames, background):
        return super()._encoder(self._patterns(frames), background)

    def _patterns(self, table):
        array = np.asarray(table)
        if array.ndim != 2 or array.dtype.kind not in "iufO" or 0 in array.shape:
            return table
        array = array.astype(float)
        known = getattr(self, "fitted_", None)
        if known is not None and array.shape[1] != known.n_features:
            raise ValueError(
                f"X has {array.shape[1]} features, but {type(self).__name__} is expecting "
                f"{known.n_features} features as input"
            )
        # Around the beam, and brighter than none whatever their sign.
        rows, cols = np.indices((12, 12)) - 5.5
        sector = np.floor(np.arctan2(rows, cols) % (2 * np.pi) / (2 * np.pi) * array.shape[1])
        return 50 + 10 * array[:, sector.astype(int)]


OPTIONS = QUICK | {"max_epochs": 2, "center": (5.5, 5.5), "intensity": "linear"}
# Checks that ask of a table what no pattern has, with why.
NOT_FOR_PATTERNS = {
    "check_fit2d_1sample": "eight patterns at least, and the sentence says so in other words",
    "check_fit2d_1feature": "the sentence speaks of pixels",
    "check_estimators_empty_data_messages": "the sentence speaks of pixels",
    "check_complex_data": "refused in other words",
    "check_dtype_object": "refused in other words",
    "check_estimator_sparse_data": "refused in other words",
    "check_estimator_sparse_tag": "refused in other words",
    "check_estimator_sparse_array": "refused in other words",
    "check_estimator_sparse_matrix": "refused in other words",
    "check_estimators_nan_inf": "whole frames of NaN are frames that were never recorded",
    "check_methods_subset_invariance": "single precision: equal to 2e-7, not to 1e-7",
    "check_fit2d_predict1d": "one row is refused in other words",
    "check_fit1d": "one row is one pattern too few",
    "check_transformer_preserve_dtypes": "codes are float64 whatever the camera's numbers",
    "check_n_features_in_after_fitting": "rows of another length are refused in other words",
}


def checks():
    estimator = Tabular(1, **OPTIONS)
    if hasattr(estimator_checks, "estimator_checks_generator"):  # from scikit-learn 1.6 on
        every = estimator_checks.estimator_checks_generator(estimator)
    else:
        every = estimator_checks.check_estimator(estimator, generate_only=True)
    for estimator, check in every:
        name = getattr(check, "func", check).__name__
        if name not in NOT_FOR_PATTERNS:
            yield pytest.param(estimator, check, id=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), [*checks()])
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_in_a_pipeline_and_as_a_table_of_named_columns(few, quick):
    flat = few.reshape(len(few), -1)
    piped = make_pipeline(RRVAE(**QUICK), StandardScaler())
    assert piped.fit_transform(flat).shape == (len(few), 2)
    assert piped.get_feature_names_out().tolist() == ["z1", "z2"]
    table = clone(quick).set_output(transform="pandas").fit_transform(flat)
    assert table.columns.tolist() == ["z1", "z2"]
    np.testing.assert_array_equal(table.to_numpy(), quick.transform(few))


def test_what_is_fitted_says_so_also_in_parts(few):
    estimator = RRVAE(**QUICK)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    assert not hasattr(estimator, "n_features_in_")
    check_is_fitted(estimator.partial_fit(few))
    estimator.transform(few)
    check_is_fitted(estimator)


@pytest.mark.slow
def test_rows_are_counted_and_the_count_is_kept(few, tmp_path):
    rows, frames = RRVAE(**QUICK).fit(few.reshape(len(few), -1)), RRVAE(**QUICK).fit(few)
    for estimator, name in ((rows, "rows"), (frames, "frames")):
        estimator.save(tmp_path / name)
    assert rows.n_features_in_ == RRVAE.load(tmp_path / "rows").n_features_in_ == 256
    assert not hasattr(frames, "n_features_in_")
    assert not hasattr(RRVAE.load(tmp_path / "frames"), "n_features_in_")


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_seed_that_was_drawn_is_kept_and_trains_the_same_again(few, parts, tmp_path):
    options = QUICK | {"random_state": None}
    one = RRVAE(**options)
    if parts == 1:
        one.fit(few)
    else:
        for part in np.array_split(few, parts):
            one.partial_fit(part)
    want = one.transform(few)
    other = RRVAE(**options).fit(few)
    assert other.seed_ != one.seed_
    again = RRVAE(**QUICK | {"random_state": one.seed_}).fit(few)
    np.testing.assert_array_equal(again.transform(few), want)
    one.save(tmp_path / "model")
    assert RRVAE.load(tmp_path / "model").seed_ == one.seed_ == again.seed_
    generator = np.random.default_rng(0)
    assert RRVAE(**QUICK | {"random_state": generator}).fit(few).seed_ is None
