"""The k-means import: files that joblib wrote come out equal, and files that mean harm do nothing."""

import copyreg
import io
import operator
import os
import pickle
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans, MiniBatchKMeans

from audio_agent_zoo.errors import UnsafePickleError, WeightsError
from audio_agent_zoo.models.kmeans_import import read_joblib_kmeans


def _fitted(cls: type = MiniBatchKMeans, dtype: str = "float32", **arguments: Any) -> Any:
    rows = np.random.default_rng(0).normal(size=(120, 16)).astype(dtype)
    return cls(**{"n_clusters": 7, "random_state": 0, "n_init": 1, **arguments}).fit(rows)


# The import of honest files.


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
def test_reads_what_joblib_wrote(tmp_path: Path, cls: type, protocol: int) -> None:
    km = _fitted(cls, random_state=np.random.RandomState(3))
    joblib.dump(km, tmp_path / "km.bin", protocol=protocol)
    centroids = read_joblib_kmeans(tmp_path / "km.bin", expected_sha256=None)
    assert centroids.dtype == np.float32 and centroids.flags.writeable
    assert np.array_equal(centroids, km.cluster_centers_)


def test_reads_other_layouts(tmp_path: Path) -> None:
    km = _fitted(dtype="float64")
    rounded = km.cluster_centers_.astype(np.float32)
    for centers in (km.cluster_centers_, np.asfortranarray(km.cluster_centers_), rounded.astype(">f4")):
        km.cluster_centers_ = centers
        joblib.dump(km, tmp_path / "km.bin")
        assert np.array_equal(read_joblib_kmeans(tmp_path / "km.bin", expected_sha256=None), rounded)


def test_reads_files_from_before_arrays_were_aligned(tmp_path: Path) -> None:
    """joblib until 1.1, as in the public files, and still where a stream has no position."""

    class _Pipe(io.BytesIO):
        def tell(self) -> int:
            raise io.UnsupportedOperation

    km, pipe = _fitted(), _Pipe()
    joblib.dump(km, pipe)
    (tmp_path / "km.bin").write_bytes(pipe.getvalue())
    assert np.array_equal(read_joblib_kmeans(tmp_path / "km.bin", expected_sha256=None), km.cluster_centers_)


def test_reads_the_older_module_names(tmp_path: Path) -> None:
    km = _fitted(KMeans)
    joblib.dump(km, tmp_path / "km.bin", protocol=3)
    data = (tmp_path / "km.bin").read_bytes()
    for new, old in ((b"sklearn.cluster._kmeans\n", b"sklearn.cluster.k_means_\n"), (b"numpy._core.", b"numpy.core.")):
        assert new in data
        data = data.replace(new, old)
    (tmp_path / "km.bin").write_bytes(data)
    assert np.array_equal(read_joblib_kmeans(tmp_path / "km.bin", expected_sha256=None), km.cluster_centers_)


# Files that are refused.


def _refusal(tmp_path: Path, data: bytes, kind: type[WeightsError] = WeightsError) -> str:
    (tmp_path / "km.bin").write_bytes(data)
    with pytest.raises(kind) as caught:
        read_joblib_kmeans(tmp_path / "km.bin", expected_sha256=None)
    assert caught.type is kind
    return str(caught.value)


def _dumped(km: Any, **arguments: Any) -> bytes:
    out = io.BytesIO()
    joblib.dump(km, out, **arguments)
    return out.getvalue()


def test_another_hash_is_refused_before_the_content_is_looked_at(tmp_path: Path) -> None:
    for data in (_dumped(_fitted()), b"cos\nsystem\n.", b""):
        (tmp_path / "km.bin").write_bytes(data)
        with pytest.raises(WeightsError, match="was not opened") as caught:
            read_joblib_kmeans(tmp_path / "km.bin")
        assert caught.type is WeightsError
    with pytest.raises(ValueError, match="64 hexadecimal"):
        read_joblib_kmeans(tmp_path / "km.bin", expected_sha256="4450dcbc")
    with pytest.raises(WeightsError, match="no file"):
        read_joblib_kmeans(tmp_path / "none.bin")


class _Calls:
    """Pickles as a call of a function, which may be what another of these returns."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __call__(self) -> None:
        """Pickle wants a function to be callable."""

    def __reduce__(self) -> Any:
        return self.function, self.arguments


class _WhenMade:
    """Writes a file when NEWOBJ makes one."""

    def __new__(cls, path: str) -> "_WhenMade":
        Path(path).touch()
        return super().__new__(cls)

    def __getnewargs__(self) -> tuple[str]:
        return (self.path,)


class _WhenBuilt:
    """Writes a file when BUILD sets its state."""

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["path"]).touch()


def _with_path(cls: type, path: str) -> Any:
    made = object.__new__(cls)
    made.path = path
    return made


_EXTENSION = 0xF3


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


# Each makes what is put among the attributes of a k-means.
_HARMFUL: dict[str, Callable[[str], Any]] = {
    "system": lambda path: _Calls(os.system, f"touch {path}"),
    "eval": lambda path: _Calls(eval, f"open({path!r}, 'w').close()"),
    "exec": lambda path: _Calls(exec, f"open({path!r}, 'w').close()"),
    "open": lambda path: _Calls(open, path, "w"),
    "getattr": lambda path: _Calls(_Calls(getattr, _Calls(__import__, "os"), "system"), f"touch {path}"),
    "process": lambda path: _Calls(subprocess.check_call, ["touch", path]),
    "methodcaller": lambda path: _Calls(operator.methodcaller("touch"), Path(path)),
    "numpy load": lambda path: _Calls(np.save, f"{path}", np.zeros(1)),
    "newobj": lambda path: _with_path(_WhenMade, path),
    "setstate": lambda path: _with_path(_WhenBuilt, path),
    "objects": lambda path: np.array([_Calls(os.system, f"touch {path}")], dtype=object),
}
# Each is a whole file, written by hand for what no pickler writes any more.
_BY_HAND: dict[str, Callable[[str], bytes]] = {
    "INST": lambda path: b"(" + _text(f"touch {path}") + b"ios\nsystem\n.",
    "OBJ": lambda path: b"(cos\nsystem\n" + _text(f"touch {path}") + b"o.",
    "GLOBAL": lambda path: b"\x80\x02cposix\nsystem\n" + _text(f"touch {path}") + b"\x85R.",
    "dotted": lambda path: (
        b"\x80\x04" + _text("pathlib") + _text("Path.touch") + b"\x93cpathlib\nPath\n" + _text(path) + b"\x85R\x85R."
    ),
    "EXT1": lambda path: b"\x80\x02\x82\xf3" + _text(f"touch {path}") + b"\x85R.",
    "EXT2": lambda path: b"\x80\x02\x83\xf3\0" + _text(f"touch {path}") + b"\x85R.",
    "EXT4": lambda path: b"\x80\x02\x84\xf3\0\0\0" + _text(f"touch {path}") + b"\x85R.",
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", _HARMFUL)
def test_a_harmful_attribute_is_refused_and_not_run(tmp_path: Path, name: str, protocol: int) -> None:
    sentinel, km = tmp_path / "run.npy", _fitted()
    km.harm = _HARMFUL[name](str(sentinel))
    data = _dumped(km, protocol=protocol)
    assert "nothing in it was run" in _refusal(tmp_path, data, UnsafePickleError)
    assert not sentinel.exists()
    joblib.load(io.BytesIO(data))
    assert sentinel.exists(), "joblib does run it, so that there was something to refuse"


@pytest.mark.parametrize("name", _BY_HAND)
def test_a_harmful_file_is_refused_and_not_run(tmp_path: Path, name: str, an_extension: None) -> None:
    sentinel = tmp_path / "run"
    data = _BY_HAND[name](str(sentinel))
    assert "nothing in it was run" in _refusal(tmp_path, data, UnsafePickleError)
    assert not sentinel.exists()
    pickle.loads(data)
    assert sentinel.exists(), "pickle does run it, so that there was something to refuse"


@pytest.fixture
def an_extension() -> Iterator[None]:
    copyreg.add_extension("os", "system", _EXTENSION)
    yield
    copyreg.remove_extension("os", "system", _EXTENSION)
    copyreg.clear_extension_cache()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"(ios\nsystem\n.", "os system"),
        (b"\x80\x02cbuiltins\neval\n.", "builtins.eval"),
        (b"\x80\x02c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x02csklearn.cluster._kmeans\nKMeans.__init__\n.", "KMeans.__init__"),
        (b"\x80\x02Pfile\n.", "PERSID"),
        (b"\x80\x02X\1\0\0\0aQ.", "BINPERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"(csklearn.cluster._kmeans\nKMeans\no.", "OBJ"),
        (b"\x80\x04\x8f.", "EMPTY_SET"),
    ],
)
def test_a_refusal_names_what_was_asked_for(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in _refusal(tmp_path, data, UnsafePickleError)


def test_a_name_that_is_known_is_not_called_either(tmp_path: Path) -> None:
    """A memory map would write its file; its record does not."""
    sentinel, km = tmp_path / "run", _fitted()
    km.harm = _Calls(np.memmap, str(sentinel), np.dtype("u1"), "w+", 0, (4,))
    (tmp_path / "km.bin").write_bytes(_dumped(km))
    assert np.array_equal(read_joblib_kmeans(tmp_path / "km.bin", expected_sha256=None), km.cluster_centers_)
    assert not sentinel.exists()
    joblib.load(tmp_path / "km.bin")
    assert sentinel.exists()


def test_a_record_stands_for_no_array(tmp_path: Path) -> None:
    """Centroids that would have to be computed by a call are not there."""
    km = _fitted()
    km.cluster_centers_ = _Calls(np.ndarray, (7, 16), np.dtype("f4"))
    assert "cluster_centers_" in _refusal(tmp_path, _dumped(km))
    km.cluster_centers_ = [[0.0]]
    assert "cluster_centers_" in _refusal(tmp_path, _dumped(km))


@pytest.mark.parametrize("dtype", ["S8", "U8", "M8[s]", "c16", "?", "f4,i4", "O", "V8", "g"])
def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path, dtype: str) -> None:
    km = _fitted()
    km.more = np.zeros(3, dtype=dtype)
    assert "dtype" in _refusal(tmp_path, _dumped(km), UnsafePickleError)


def test_a_shape_that_the_file_can_not_hold_takes_no_memory(tmp_path: Path) -> None:
    km = _fitted()
    data = _dumped(km, protocol=2)
    shape = b"K\x07K\x10\x86"  # (7, 16)
    assert data.count(shape) == 1
    ten_gigabytes = (10**10).to_bytes(5, "little")
    huge = {
        "one long axis": b"K\x07\x8a\x05" + ten_gigabytes + b"\x86",
        "a product past 64 bits": b"(" + b"M\x00\x02" * 8 + b"t",
        "many axes": b"(" + b"K\x01" * 200 + b"t",
        "below zero": b"J\xf9\xff\xff\xffJ\xf0\xff\xff\xff\x86",
        "none by ten billion": b"K\x00\x8a\x05" + ten_gigabytes + b"\x86",
        "no numbers": b"NN\x86",
    }
    tracemalloc.start()
    try:
        for said in huge.values():
            assert "bytes are due" in (told := _refusal(tmp_path, data.replace(shape, said))) or "axes" in told
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_declared_lengths_of_opcodes_take_no_memory(tmp_path: Path) -> None:
    billion = (2**40).to_bytes(8, "little")
    tracemalloc.start()
    try:
        for opcode in (b"\x8d", b"\x8e", b"\x95"):
            _refusal(tmp_path, b"\x80\x04" + opcode + billion + b"abc.")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_depth_and_length_are_bounded(tmp_path: Path) -> None:
    """A tuple 50000 deep as a key would overrun the stack where it is hashed."""
    assert "belongs" in _refusal(tmp_path, b"\x80\x02})" + b"\x85" * 50_000 + b"Ns.")
    assert "opcodes" in _refusal(tmp_path, b"\x80\x02" + b"N" * 200_000 + b".")


def test_truncated_anywhere_is_refused(tmp_path: Path) -> None:
    data = _dumped(_fitted())
    for length in [*range(0, 40), *range(40, len(data) - 1, 41), len(data) - 1]:
        _refusal(tmp_path, data[:length])


def test_damage_anywhere_gives_numbers_or_a_typed_error(tmp_path: Path) -> None:
    data, path = _dumped(_fitted(), protocol=4), tmp_path / "km.bin"
    generator = np.random.default_rng(0)
    for _ in range(400):
        broken = bytearray(data)
        for place in generator.integers(0, len(data), size=3):
            broken[place] = generator.integers(0, 256)
        path.write_bytes(broken)
        try:
            centroids = read_joblib_kmeans(path, expected_sha256=None)
        except WeightsError:
            continue
        assert centroids.ndim == 2 and np.isfinite(centroids).all()


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "xz", "lzma"])
def test_compressed_files_are_told(tmp_path: Path, method: str) -> None:
    joblib.dump(_fitted(), tmp_path / "packed", compress=(method, 3))
    assert "compress=0" in _refusal(tmp_path, (tmp_path / "packed").read_bytes())


def test_other_contents_are_told(tmp_path: Path) -> None:
    km = _fitted()
    assert "something else" in _refusal(tmp_path, _dumped({"cluster_centers_": km.cluster_centers_}))
    assert "something else" in _refusal(tmp_path, _dumped(km.cluster_centers_))
    assert "dict" in _refusal(tmp_path, b"\x80\x02csklearn.cluster._kmeans\nKMeans\n)\x81.")
    km.cluster_centers_[2, 3] = np.nan
    assert "NaN" in _refusal(tmp_path, _dumped(km))
    km.n_clusters = 9
    assert "n_clusters" in _refusal(tmp_path, _dumped(km))
    assert "not fitted" in _refusal(tmp_path, _dumped(KMeans(3)))
