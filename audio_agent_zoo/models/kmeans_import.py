"""The public k-means files (joblib pickles of scikit-learn) as a `SemanticQuantizer`, without running them.

A pickle is a program for a small stack machine, and loading one lets it call whatever it names. Here its
opcodes are walked instead: a name stays two strings, a call stays a record of what would be called, and
nothing is ever imported or called on a file's behalf.
"""

import math
import pickletools
import re
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.errors import MediaError, UnsafePickleError, WeightsError
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer

KM500_URL = "https://dl.fbaipublicfiles.com/hubert/hubert_base_ls960_L9_km500.bin"
"""500 centroids on layer 9 of HuBERT-base."""
KM500_SHA256 = "4450dcbc90aa7d0553306a4b0fafef35c9b3c840468f02969273dfbb9db89a23"
"""Hash of that file; the one of GSLM with the same size (`411c8668...`) belongs to layer 6."""

_MOST_BYTES = 1 << 30
_MOST_OPCODES = 100_000  # a k-means has some hundreds, whatever its size
_MOST_AXES = 8

_Kind = TypeVar("_Kind")

_KMEANS = frozenset(
    (module, name)
    for module in ("sklearn.cluster._kmeans", "sklearn.cluster.k_means_")
    for name in ("KMeans", "MiniBatchKMeans")
)
_ARRAY = frozenset(
    (module, "NumpyArrayWrapper") for module in ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle")
)
# What else such files mention: scalars, and the state of a random generator.
_MENTIONED = frozenset(
    {
        ("_codecs", "encode"),
        ("numpy", "dtype"),
        ("numpy", "memmap"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.random", "__RandomState_ctor"),
        ("numpy.random._mt19937", "MT19937"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("numpy.random.bit_generator", "SeedSequence"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    }
)
_COMPRESSIONS = {
    b"x": "zlib", b"ZF": "zlib", b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7zXZ": "xz", b"]\x00\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
}  # fmt: skip
_NUMBER = re.compile("f[248]|[iu][1248]")


@dataclass(frozen=True)
class _Name:
    """A global the file mentions."""

    module: str
    name: str

    @property
    def key(self) -> tuple[str, str]:
        return self.module, self.name


@dataclass(eq=False, repr=False)
class _Record:
    """An object the file wants made: from which global, of what, and the state it would get."""

    of: _Name
    arguments: Any
    state: Any = None


# What protocols 2 to 5 write for plain values; whatever is missing here and below is refused.
_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Walker:
    """Walks the opcodes of a joblib file and keeps records of what they ask for.

    Source: the opcodes as `pickletools` describes them; arrays as joblib's `NumpyArrayWrapper` writes them:
    raw bytes in the stream right after the BUILD of the wrapper, since joblib 1.2 behind a byte that counts
    the padding, and the padding.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stream = BytesIO(data)
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each open mark
        self._memo: dict[int, Any] = {}

    def walk(self) -> Any:
        """The record the file ends in."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self._stream)):
            if count == _MOST_OPCODES:
                raise WeightsError(f"the file has over {_MOST_OPCODES} opcodes; a k-means has some hundreds.")
            if opcode.name == "STOP":
                break
            self._step(opcode.name, argument)
        return self._stack.pop()

    def _step(self, opcode: str, argument: Any) -> None:
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._below.append(self._stack)
                self._stack = []
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                self._stack.append(self._memo[argument])
            case "GLOBAL" | "STACK_GLOBAL" | "REDUCE" | "NEWOBJ" | "NEWOBJ_EX" | "BUILD":
                self._record(opcode, argument)
            case _:
                self._value(opcode, argument)

    def _marked(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _value(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        if opcode in _LITERALS:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[opcode])]
            stack.append(tuple(reversed(items)))
        elif opcode == "TUPLE":
            items = self._marked()
            self._stack.append(tuple(items))
        elif opcode == "EMPTY_LIST":
            stack.append([])
        elif opcode in ("APPEND", "APPENDS"):
            items = [stack.pop()] if opcode == "APPEND" else self._marked()
            _expect(self._stack[-1], list).extend(items)
        elif opcode == "EMPTY_DICT":
            stack.append({})
        elif opcode in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if opcode == "SETITEM" else self._marked()
            target = _expect(self._stack[-1], dict)
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[_expect(key, str)] = value  # hashing a deeply nested key would overrun the C stack
        else:
            told = f" for {str(argument)[:80]!r}" if argument is not None else ""
            raise UnsafePickleError(f"the file uses the opcode {opcode}{told}, which no k-means needs; don't load it.")

    def _record(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        if opcode in ("GLOBAL", "STACK_GLOBAL"):
            if opcode == "GLOBAL":
                module, _, name = argument.partition(" ")
            else:
                name, module = _expect(stack.pop(), str), _expect(stack.pop(), str)
            if (module, name) not in _KMEANS | _ARRAY | _MENTIONED:
                raise UnsafePickleError(
                    f"the file asks for {f'{module}.{name}'[:80]!r}, which no k-means needs; don't load it."
                )
            stack.append(_Name(module, name))
        elif opcode == "BUILD":
            state = stack.pop()
            target = _expect(stack[-1], _Record)
            target.state = state
            if target.of.key in _ARRAY:
                stack[-1] = self._array(_expect(state, dict))
        else:
            keywords = stack.pop() if opcode == "NEWOBJ_EX" else None
            arguments = stack.pop()
            stack.append(_Record(_expect(stack.pop(), _Name), (arguments, keywords) if keywords else arguments))

    def _array(self, state: dict[str, Any]) -> NDArray[Any]:
        """Read the bytes behind a wrapper; a view of the file's own, so that no shape asks for memory."""
        dtype, order, shape = _dtype(state.get("dtype")), state.get("order"), _expect(state.get("shape"), tuple)
        if _expect(state.get("subclass"), _Name).key not in (("numpy", "ndarray"), ("numpy", "memmap")):
            raise UnsafePickleError("an array is of a class of its own; only numpy.ndarray is read.")
        if state.get("numpy_array_alignment_bytes") is not None:
            self._skip(self._data[self._skip(1)])
        if len(shape) > _MOST_AXES or not all(type(n) is int and 0 <= n <= len(self._data) for n in shape):
            raise WeightsError(f"an array has {len(shape)} axes, of lengths the file can't hold.")
        start = self._skip(math.prod(shape) * dtype.itemsize)
        return np.ndarray(shape, dtype, buffer=self._data, offset=start, order="F" if order == "F" else "C")

    def _skip(self, count: int) -> int:
        """Pass over bytes that are not opcodes; where they start."""
        start, end = self._stream.tell(), len(self._data)
        if count > end - start:
            raise WeightsError(f"{count} bytes are due at byte {start}, but the file ends at byte {end}.")
        self._stream.seek(start + count)
        return start


def _expect(value: Any, kind: type[_Kind]) -> _Kind:
    if type(value) is not kind:
        raise WeightsError(f"there is a {type(value).__name__} where a {kind.__name__} belongs.")
    return value


def _dtype(value: Any) -> np.dtype[Any]:
    record = _expect(value, _Record)
    code = record.arguments[0] if type(record.arguments) is tuple and record.arguments else None
    if record.of.key != ("numpy", "dtype") or type(code) is not str or not _NUMBER.fullmatch(code):
        raise UnsafePickleError(
            f"an array is of dtype {str(code)[:80]!r}; only float and integer arrays are read, since an array of "
            "objects is a pickle of its own."
        )
    swapped = type(record.state) is tuple and record.state[1:2] == (">",)
    return np.dtype((">" if swapped else "<") + code)


def read_joblib_kmeans(path: str | Path, *, expected_sha256: str | None = KM500_SHA256) -> NDArray[np.float32]:
    """Centroids in a joblib file of scikit-learn's `KMeans` or `MiniBatchKMeans`.

    Neither library is needed, and nothing in the file is run, whoever wrote it.

    Args:
        path: An uncompressed file of `joblib.dump`, of joblib 0.10 or later.
        expected_sha256: What the file has to hash to before its content is looked at; None takes any file.

    Returns:
        `(centroids, dim)`.

    Raises:
        ValueError: If `expected_sha256` is no hash.
        WeightsError: If the file is missing, of another hash, compressed, damaged, or no k-means.
        UnsafePickleError: If it asks for anything but plain numbers and arrays.
    """
    return _read(Path(path), expected_sha256)[0]


def import_quantizer(
    path: str | Path, folder: str | Path, *, expected_sha256: str | None = KM500_SHA256
) -> SemanticQuantizer:
    """Convert a joblib file of a k-means once; `SemanticQuantizer.from_pretrained(folder)` loads it from then on.

    Args:
        path: File for `read_joblib_kmeans`.
        folder: Where safetensors and config go; the config keeps the hash of the file.
        expected_sha256: As in `read_joblib_kmeans`.

    Raises:
        ValueError: As `read_joblib_kmeans`.
        WeightsError: As `read_joblib_kmeans`.
        MediaError: If the folder can't be written.
    """
    centroids, digest = _read(Path(path), expected_sha256)
    quantizer: SemanticQuantizer = SemanticQuantizer.from_centroids(centroids, source_sha256=digest)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        quantizer.save_pretrained(folder)
    except OSError as error:
        raise MediaError(f"{folder} can't be written: {error.strerror}. Choose another folder.") from error
    return quantizer


def _read(path: Path, expected_sha256: str | None) -> tuple[NDArray[np.float32], str]:
    data, digest = _checked(path, expected_sha256)
    for magic, name in _COMPRESSIONS.items():
        if data.startswith(magic):
            raise WeightsError(f"{path} is compressed with {name}; write it again with joblib.dump(..., compress=0).")
    try:
        return _centroids(_Walker(data).walk()), digest
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path} was refused, and nothing in it was run: {error}") from error
    except (WeightsError, ValueError, LookupError) as error:  # what pickletools and an empty stack raise
        raise WeightsError(f"{path} can't be read as a k-means of scikit-learn: {error}") from error


def _checked(path: Path, expected_sha256: str | None) -> tuple[bytes, str]:
    """Content and hash of a file; read once, so that what was hashed is what is parsed."""
    wanted = None if expected_sha256 is None else expected_sha256.strip().lower()
    if wanted is not None and not re.fullmatch("[0-9a-f]{64}", wanted):
        raise ValueError(f"expected_sha256 is {expected_sha256!r}; give 64 hexadecimal digits, as sha256sum prints.")
    if not path.is_file():
        raise WeightsError(f"there is no file {path}; the public one is at {KM500_URL}.")
    if path.stat().st_size > _MOST_BYTES:
        raise WeightsError(f"{path} has {path.stat().st_size} bytes; a k-means has at most {_MOST_BYTES}.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} can't be read: {error.strerror}.") from error
    digest = sha256(data).hexdigest()
    if wanted is not None and digest != wanted:
        raise WeightsError(
            f"{path} has the sha256 {digest}, not {wanted}, and was not opened. Download it again, or name the "
            "hash you expect if it is another k-means."
        )
    return data, digest


def _centroids(record: Any) -> NDArray[np.float32]:
    if type(record) is not _Record or record.of.key not in _KMEANS:
        raise WeightsError("it holds something else.")
    state = _expect(record.state, dict)
    found = state.get("cluster_centers_")
    if not isinstance(found, np.ndarray) or found.ndim != 2 or not found.size:
        raise WeightsError("it has no cluster_centers_ of (centroids, dim); the k-means was not fitted.")
    if type(state.get("n_clusters")) is int and state["n_clusters"] != len(found):
        raise WeightsError(f"n_clusters is {state['n_clusters']}, but there are {len(found)} centroids.")
    with np.errstate(over="ignore"):
        centroids = found.astype(np.float32, order="C")
    if not np.isfinite(centroids).all():
        raise WeightsError("some of its centroids are NaN or infinite.")
    return centroids
