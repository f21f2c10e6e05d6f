# SPDX-License-Identifier: GPL-3.0-or-later
"""The model file."""

import copy
import pickle

import numpy as np
import pytest
import torch
from estimators import NAMES, QUICK
from safetensors import safe_open
from safetensors.torch import save_file

from py4dstem_rrvae import RRVAE, Frames


def test_loaded_model_gives_identical_codes(trained, unseen, codes, tmp_path):
    trained.save(tmp_path / "model.rrvae")
    loaded = RRVAE.load(tmp_path / "model.rrvae")
    found = loaded.encode(unseen.frames)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(codes, name))
    np.testing.assert_array_equal(loaded.reconstruct(found), trained.reconstruct(codes))
    assert loaded.history_ == trained.history_
    assert loaded.get_params() == trained.get_params()


def test_what_renders_patterns_is_kept_but_not_copied(quick, few):
    codes = quick.encode(few[:3])
    patterns = quick.reconstruct(codes)
    assert quick.fitted_.renderer is quick.fitted_.renderer
    for other in (pickle.loads(pickle.dumps(quick)), copy.deepcopy(quick)):
        assert "renderer" not in vars(other.fitted_)
        np.testing.assert_array_equal(other.reconstruct(codes), patterns)


@pytest.mark.filterwarnings("ignore:the beam stands")  # the matrix is not that of the patterns
def test_file_keeps_the_geometry(few, tmp_path):
    mask = np.ones((16, 16), dtype=bool)
    mask[:5, 8] = False
    matrix = np.array([[0.03, 0.001], [0.002, 0.05]])
    frames = Frames(few, center=(7.1, 8.2), matrix=matrix, mask=mask, q_units="A^-1")
    estimator = RRVAE(**QUICK | {"random_state": np.random.default_rng(0)}).fit(frames)
    estimator.save(str(tmp_path / "model.rrvae"))
    fitted = RRVAE.load(str(tmp_path / "model.rrvae")).fitted_
    assert (fitted.detector.center, fitted.q_units) == ((7.1, 8.2), "A^-1")
    np.testing.assert_array_equal(fitted.detector.matrix, matrix)
    np.testing.assert_array_equal(fitted.detector.mask, mask)
    for name in ("grid", "response", "dose", "angle_offset"):
        assert getattr(fitted, name) == getattr(estimator.fitted_, name)
    one, other = fitted.intensity, estimator.fitted_.intensity
    assert (one.kind, one.gain) == (other.kind, other.gain)
    assert torch.equal(one.scale, other.scale)


def test_file_keeps_the_zero_of_the_angle(one_sided, tmp_path):
    one_sided.estimator.save(tmp_path / "model.rrvae")
    angle = RRVAE.load(tmp_path / "model.rrvae").encode(one_sided.frames).angle
    np.testing.assert_array_equal(angle, one_sided.codes.angle)


def test_loading_leaves_the_global_generator_alone(quick, tmp_path):
    quick.save(tmp_path / "model.rrvae")
    before = torch.random.get_rng_state()
    RRVAE.load(tmp_path / "model.rrvae")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.5, 0.999])
def test_truncated_file_is_refused(share, quick, tmp_path):
    path = tmp_path / "model.rrvae"
    quick.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="is no rrVAE model file, or is damaged"):
        RRVAE.load(path)


@pytest.mark.parametrize(
    "content",
    [b"Not a model at all, but some text.", pickle.dumps({"a": np.ones(9)}), b"\x00" * 64],
)
def test_file_of_another_kind_is_refused(content, tmp_path):
    path = tmp_path / "model.rrvae"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no rrVAE model file, or is damaged"):
        RRVAE.load(path)


def test_safetensors_of_another_program_are_refused(tmp_path):
    save_file({"weight": torch.ones(3)}, tmp_path / "model.rrvae", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="is a safetensors file, but not of an rrVAE model"):
        RRVAE.load(tmp_path / "model.rrvae")


def rewritten(path, change):
    with safe_open(path, framework="pt") as file:
        header = {key: change(value) for key, value in file.metadata().items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=header)


def test_model_of_a_later_format_is_refused(quick, tmp_path):
    path = tmp_path / "model.rrvae"
    quick.save(path)
    rewritten(path, lambda header: header.replace('"format": 10', '"format": 99'))
    with pytest.raises(ValueError, match=r"has model format 99; this version .* reads format 10"):
        RRVAE.load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "{",
        lambda _: "{}",
        lambda h: h.replace('"grid"', '"x"'),
        lambda h: h.replace('"beta"', '"x"'),
    ],
)
def test_model_of_a_broken_header_is_refused(change, quick, tmp_path):
    path = tmp_path / "model.rrvae"
    quick.save(path)
    rewritten(path, change)
    with pytest.raises(ValueError, match="is no rrVAE model file, or is damaged"):
        RRVAE.load(path)


def test_folder_to_write_to_must_exist(quick, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent to write model\.rrvae to"):
        quick.save(tmp_path / "absent" / "model.rrvae")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model file at .*absent\.rrvae"):
        RRVAE.load(tmp_path / "absent.rrvae")


def test_file_holds_no_pickle(quick, tmp_path):
    quick.save(tmp_path / "model.rrvae")
    content = (tmp_path / "model.rrvae").read_bytes()
    assert int.from_bytes(content[:8], "little") < len(content)
    assert content[8:9] == b"{"
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(content)
