# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged and hostile model files: one sentence each, no code run, no memory taken."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from odd_frames import assert_codes, only_our_words
from safetensors import safe_open
from safetensors.torch import save, save_file

from py4dstem_rrvae import RRVAE, model_file
from py4dstem_rrvae.model_file import CHECKSUM, KEY

ODD = [None, "x", "", -1, 0, 0.5, 10**12, 10**400, np.nan, np.inf, True, [], [[]], {}, {"a": 1}]


@pytest.fixture(scope="module")
def content(quick, tmp_path_factory):
    """Bytes of a model file."""
    path = tmp_path_factory.mktemp("model") / "model.rrvae"
    quick.save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def parts(content, tmp_path_factory):
    """Header and tensors of the same."""
    path = tmp_path_factory.mktemp("parts") / "model.rrvae"
    path.write_bytes(content)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[KEY])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def put(path, header, tensors):
    """Write a file that holds together, whatever it says."""
    text = json.dumps(header)
    metadata = {KEY: text, CHECKSUM: model_file._digest(text, tensors)}
    path.write_bytes(save(tensors, metadata=metadata))


def refusal(path):
    """The sentence a file is refused with; None where it is read."""
    try:
        RRVAE.load(path)
    except ValueError as bad:
        text = str(bad)
        assert text.startswith(f"{path} ") and "\n" not in text and len(text) < 600
        return text
    return None


def is_read(path, few):
    """Whether a file is read; then it must give finite codes, or refuse to in one sentence."""
    if refusal(path) is not None:
        return False
    with only_our_words():
        model = RRVAE.load(path).set_params(device="cpu", progress=False)
        assert_codes(model.encode(few[:3]), (3,), model.latent_dim)
    return True


def same_model(one, other):
    a, b = one.fitted_.model.state_dict(), other.fitted_.model.state_dict()
    same = all(torch.equal(a[name], b[name]) for name in a | b)
    return same and one.history_ == other.history_ and one.get_params() == other.get_params()


def test_every_truncation_is_refused(content, tmp_path):
    path = tmp_path / "model.rrvae"
    for size in range(0, len(content), 64):
        path.write_bytes(content[:size])
        assert "is no rrVAE model file, or is damaged" in refusal(path), size


def assert_flips_are_found(content, path, quick, flips, seed):
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(flips):
        damaged = bytearray(content)
        # Half of them in the first part, which says where everything is.
        end = 2000 if rng.random() < 0.5 else len(content)
        damaged[rng.integers(end)] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        if refusal(path) is None:  # what was flipped may say nothing, as the name of the checksum
            assert same_model(RRVAE.load(path), quick)
        else:
            refused += 1
    return refused


def test_flipped_bits_are_found(content, quick, tmp_path):
    assert assert_flips_are_found(content, tmp_path / "model.rrvae", quick, 100, 0) > 90


@pytest.mark.slow
def test_many_flipped_bits_are_found(content, quick, tmp_path):
    assert assert_flips_are_found(content, tmp_path / "model.rrvae", quick, 3000, 1) > 2900


def leaves(value, path=()):
    """Paths to all values of a header; of a list, to its first."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from leaves(value[0], (*path, 0))


def changed(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


MANY = [pytest.param(odd, marks=pytest.mark.slow) for odd in ODD[4:]]


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD[:4] + MANY, ids=lambda odd: repr(odd)[:8])
def test_odd_values_in_the_header_do_no_harm(odd, parts, few, tmp_path):
    header, tensors = parts
    read = 0
    for where in leaves(header):
        put(tmp_path / "model.rrvae", changed(header, where, odd), tensors)
        read += is_read(tmp_path / "model.rrvae", few)
    assert read < 40


def test_values_left_out_of_the_header_are_missed(parts, tmp_path):
    header, tensors = parts
    for where in leaves(header):
        if where and isinstance(where[-1], str) and where not in OPTIONAL:
            inner = header
            for key in where[:-1]:
                inner = inner[key]
            rest = {key: value for key, value in inner.items() if key != where[-1]}
            put(tmp_path / "model.rrvae", changed(header, where[:-1], rest), tensors)
            assert refusal(tmp_path / "model.rrvae") or where[0] in ("history", "parameters"), where


OPTIONAL = [("version",), ("intensity", "gain"), ("response", "dark_level"), ("response", "uneven")]

SPOILS = {
    "flat": lambda t: t.reshape(-1, 1, 1),
    "empty": lambda t: t[:0] if t.ndim else t.reshape(1)[:0],
    "longer": lambda t: torch.cat([t.reshape(-1), t.reshape(-1)]),
    "whole numbers": lambda t: torch.ones_like(t, dtype=torch.int64),
    "half precision": lambda t: t.to(torch.float16),
    "NaN": lambda t: torch.full_like(t.double(), torch.nan).to(t.dtype),
    "infinite": lambda t: torch.full_like(t.double(), torch.inf).to(t.dtype),
    "huge": lambda t: torch.full_like(t.double(), 3e38).to(t.dtype),
    "zero": torch.zeros_like,
}


@pytest.mark.slow
@pytest.mark.parametrize("spoil", SPOILS)
def test_odd_tensors_do_no_harm(spoil, parts, few, tmp_path):
    header, tensors = parts
    for name, tensor in tensors.items():
        put(tmp_path / "model.rrvae", header, tensors | {name: SPOILS[spoil](tensor)})
        found = is_read(tmp_path / "model.rrvae", few)
        if spoil in ("flat", "longer", "empty") and tensor.numel() > 1:
            assert not found, name


def test_missing_and_foreign_tensors(parts, tmp_path):
    header, tensors = parts
    for name in set(tensors) - {"mean.values", "detector.mask"}:
        put(tmp_path / "model.rrvae", header, {k: v for k, v in tensors.items() if k != name})
        assert refusal(tmp_path / "model.rrvae"), name
    put(tmp_path / "model.rrvae", header, tensors | {"model.extra": torch.ones(3)})
    assert "extra" in refusal(tmp_path / "model.rrvae")


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_not_read(tmp_path):
    path, trap = tmp_path / "model.rrvae", tmp_path / "trap"
    for write in (lambda: path.write_bytes(pickle.dumps(Trap(trap))),
                  lambda: torch.save({"model": Trap(trap)}, path)):  # fmt: skip
        write()
        assert "is no rrVAE model file, or is damaged" in refusal(path)
        assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(trap)))
    assert trap.exists()


LOADED = """
import resource, sys
from py4dstem_rrvae import RRVAE
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        RRVAE.load(path)
        print("read", path)
    except ValueError as refusal:
        print("refused", len(str(refusal).splitlines()))
print("MB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def huge(parts):
    """Small files that claim to be large ones."""
    header, tensors = parts
    for key, value in (("latent_dim", 10**9), ("latent_dim", 4096)):
        yield changed(header, ("parameters", key), value), tensors
    for key in ("n_radial", "n_angular"):
        yield changed(header, ("grid", key), 10**9), tensors
    yield changed(header, ("grid", "radius_max"), 1e12), tensors
    yield changed(header, ("detector", "shape"), [10**9, 10**9]), tensors
    wide = torch.ones(200_000, 2)
    known = changed(header, ("grid", "n_radial"), 200_000)
    yield known, tensors | {"model.weight": wide, "model.dof": wide[:, 0].contiguous()}


@pytest.mark.slow
def test_claims_of_size_take_no_memory(parts, tmp_path):
    paths = []
    for number, (header, tensors) in enumerate(huge(parts)):
        paths.append(tmp_path / f"{number}.rrvae")
        put(paths[-1], header, tensors)
    nested = {KEY: "[" * 200_000}
    save_file({"a": torch.ones(1)}, tmp_path / "nested.rrvae", metadata=nested)
    (tmp_path / "length.rrvae").write_bytes((2**62).to_bytes(8, "little") + b"{}" + b" " * 99)
    (tmp_path / "long.rrvae").write_bytes((90 * 2**20).to_bytes(8, "little") + b'{"' + b" " * 99)
    claims = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    (tmp_path / "claims.rrvae").write_bytes(len(claims).to_bytes(8, "little") + claims.encode())
    paths += [tmp_path / f"{name}.rrvae" for name in ("nested", "length", "long", "claims")]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, paths)], capture_output=True, text=True, check=True
    )
    *said, memory = done.stdout.splitlines()
    assert said == ["refused 1"] * len(paths)
    assert int(memory.split()[1]) < 100
