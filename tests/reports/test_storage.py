"""save and load: exact to the bit, whole or not at all, and nothing unknown is taken for known."""

import json
import os
import pathlib
import pickle
import shutil
import zipfile

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm.reports.storage import feature_names

SAVED = pathlib.Path(__file__).parent / "saved"


def two_columns():
    """The rows that the saved fits are of."""
    noise = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    return noise + np.repeat([[0, 0], [6, 3], [0, 9]], 20, axis=0)


def some(family, dtype=np.float32, k=3, d=2):
    rng = np.random.default_rng(0)
    covariances = np.broadcast_to(np.eye(d), (k, d, d)) * 0.7
    weights = np.array([0.3, 0.0, 0.7])  # an absent component too
    return jaxgmm.Mixture.from_parameters(
        weights, rng.normal(size=(k, d)).astype(dtype), covariances, family
    )


def test_files_of_earlier_versions_load(family, x64):
    """Written when EM's gain was called `residual`."""
    x = two_columns()
    found = jaxgmm.load(SAVED / f"{family}.npz")
    again = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 3, family=family))
    np.testing.assert_allclose(found.objective, again.objective, rtol=1e-10)
    np.testing.assert_allclose(found.mixture.means, again.mixture.means, rtol=1e-4, atol=1e-4)
    assert 0 <= found.em_gain < 1e-9
    assert feature_names(SAVED / f"{family}.npz") == ["width", "height"]


def test_a_checkpoint_of_an_earlier_version_is_resumed(x64, tmp_path):
    """Written after four steps, when the stopping rule was called "kl"."""
    path = tmp_path / "checkpoint.npz"
    shutil.copy(SAVED / "checkpoint.npz", path)
    x = two_columns()
    start = jaxgmm.initialize(jax.random.key(0), x, 3)
    steps = []
    note = lambda step, objective, em_gain: steps.append(step)
    found = jaxgmm.fit(x, start, tolerance=0.0, max_steps=6, checkpoint=path, callback=note)
    straight = jaxgmm.fit(x, start, tolerance=0.0, max_steps=6)
    np.testing.assert_allclose(found.objective, straight.objective, rtol=1e-10)
    jax.effects_barrier()
    assert steps == [5, 6]


def same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def some_fit(family, lead=()):
    mixture = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (*lead, *leaf.shape)), some(family))
    full = lambda value, dtype: np.full(lead, value, dtype)
    history = np.full((*lead, 5), np.float32(-1 / 3))
    return jaxgmm.Fit(
        mixture, full(-0.0, np.float32), full(np.nan, np.float32), full(4, np.int32), full(4.5, np.float32),
        full(2, np.int32), full(1e-42, np.float32), history, history,
    )  # fmt: skip


def test_a_mixture_comes_back_to_the_bit(family, tmp_path):
    path = tmp_path / "model.npz"
    jaxgmm.save(path, some(family))
    same_bits(jaxgmm.load(path), some(family))
    assert os.listdir(tmp_path) == ["model.npz"]


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_a_fit_comes_back_to_the_bit(lead, tmp_path):
    fit = some_fit("tied", lead)
    jaxgmm.save(tmp_path / "fit", fit)
    same_bits(jaxgmm.load(tmp_path / "fit"), fit)
    assert isinstance(jaxgmm.load(str(tmp_path / "fit")), jaxgmm.Fit)


def test_float64_is_not_rounded_in_silence(tmp_path):
    path = tmp_path / "wide.npz"
    with jax.enable_x64(True):
        wide = some("full", np.float64)
        jaxgmm.save(path, wide)
        same_bits(jaxgmm.load(path), wide)
    with pytest.raises(ValueError, match=r"64-bit mode is off: .* jax\.enable_x64"):
        jaxgmm.load(path)


def test_the_file_is_numpys_and_needs_no_pickle(tmp_path):
    jaxgmm.save(tmp_path / "m.npz", some("full"))
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        about = json.loads(str(file["jaxgmm"]))
        assert about == {"format": 1, "kind": "mixture", "family": "full"}
        assert sorted(file.files) == sorted(
            ["jaxgmm", "logits", "means", "covariance.log_diagonal", "covariance.lower"]
        )


def test_features_names_are_kept(tmp_path):
    path = tmp_path / "m.npz"
    jaxgmm.save(path, some_fit("full"), features=["a", "b µm"])
    same_bits(jaxgmm.load(path), some_fit("full"))
    assert jaxgmm.reports.storage.feature_names(path) == ["a", "b µm"]
    jaxgmm.save(path, some("full"))  # as files without names were
    assert jaxgmm.reports.storage.feature_names(path) is None
    for names in (["a"], ["a", "a"], "ab"):
        with pytest.raises(ValueError, match="give 2 different names"):
            jaxgmm.save(path, some("full"), features=names)


def changed(path, target, **entries):
    """The file with some entries replaced, or left out where None."""
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files} | entries
    np.savez(target, **{name: value for name, value in kept.items() if value is not None})
    return target


def about(**given):
    return np.array(json.dumps({"format": 1, "kind": "mixture", "family": "full"} | given))


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (dict(jaxgmm=None), "not a file that"),
        (dict(jaxgmm=np.array("{")), "not a file that"),
        (dict(jaxgmm=np.array("[1]")), "not a file that"),
        (dict(jaxgmm=about(format=2)), "has format 2"),
        (dict(jaxgmm=about(family="cubic")), "family 'cubic'"),
        (dict(jaxgmm=about(kind="sweep")), "a 'sweep'"),
        (dict(jaxgmm=about(family="diagonal")), "damaged"),
        (dict(jaxgmm=about(kind="fit")), "damaged"),
        (dict(jaxgmm=about(features=["a"])), "damaged"),
        (dict(jaxgmm=about(features=[1, 2])), "damaged"),
        (dict(logits=None), "damaged"),
        (dict(logits=np.zeros(4, np.float32)), "damaged"),
        (dict(means=np.zeros(3, np.float32)), "damaged"),
        (dict(means=np.array([["a", "b"]] * 3)), "damaged"),
        (dict(more=np.zeros(1)), "damaged"),
    ],
)
def test_what_is_not_known_is_refused(entries, says, tmp_path):
    jaxgmm.save(tmp_path / "good.npz", some("full"))
    with pytest.raises(ValueError, match=says):
        jaxgmm.load(changed(tmp_path / "good.npz", tmp_path / "bad.npz", **entries))


def test_a_status_that_is_none_is_refused(tmp_path):
    start = some("full")
    fit = jaxgmm.fit(np.eye(start.n_features, dtype=np.float32), start, max_steps=0)
    jaxgmm.save(tmp_path / "good.npz", fit)
    assert jaxgmm.load(tmp_path / "good.npz").status == fit.status
    with pytest.raises(ValueError, match="damaged"):
        jaxgmm.load(changed(tmp_path / "good.npz", tmp_path / "bad.npz", status=np.int32(99)))


def test_a_file_that_is_not_ours_or_is_cut_short(tmp_path):
    path = tmp_path / "model.npz"
    jaxgmm.save(path, some("full"))
    whole = path.read_bytes()
    for content in (b"", b"not a zip", whole[: len(whole) // 2], pickle.dumps(3)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a file that jaxgmm"):
            jaxgmm.load(path)
    np.savez(path, jaxgmm=np.array([object()], object))  # an object needs pickle: never unpickled
    with pytest.raises(ValueError, match="not a file that"):
        jaxgmm.load(path)
    np.save(path.with_suffix(".npy"), np.zeros(2))
    with pytest.raises(ValueError, match="not a file that"):
        jaxgmm.load(path.with_suffix(".npy"))
    with pytest.raises(FileNotFoundError):
        jaxgmm.load(tmp_path / "nowhere.npz")


def test_a_byte_changed_is_noticed(tmp_path):
    path = tmp_path / "model.npz"
    jaxgmm.save(path, some("full"))
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("means.npy").header_offset + 200
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="damaged"):
        jaxgmm.load(path)


def test_an_older_file_stays_whole_where_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    jaxgmm.save(path, some("full"))
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="disk full"):
        jaxgmm.save(path, some("tied"))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.npz"]


def test_save_takes_a_mixture_or_a_fit(tmp_path):
    with pytest.raises(ValueError, match="a Mixture, a Fit or a Comparison, but this is a dict"):
        jaxgmm.save(tmp_path / "x", {"means": 0})
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda m: jaxgmm.save(tmp_path / "x", m))(some("full"))
    assert os.listdir(tmp_path) == []
