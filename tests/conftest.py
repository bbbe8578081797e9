"""What every test runs under: no network but loopback, few threads, fixed seeds, nobody's keys or caches."""

import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

# Set before anything imports torch, huggingface_hub or matplotlib, which read them once.
_HUB_HOME = tempfile.mkdtemp(prefix="audio_agent_zoo_hub_")
for _name in [name for name in os.environ if name.startswith(("OPENAI_", "AUDIO_AGENT_", "HF_", "WANDB_", "TQDM_"))]:
    del os.environ[_name]
os.environ.update(
    {
        "HF_HOME": _HUB_HOME,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "WANDB_MODE": "disabled",
        "TOKENIZERS_PARALLELISM": "false",
        "MPLBACKEND": "Agg",
        "NO_PROXY": "127.0.0.1,::1,localhost",
    }
)
os.environ.setdefault("OMP_NUM_THREADS", "2")
# A run in the background inherits an ignored Ctrl-C, which every command under test would inherit in turn.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import pytest_socket  # noqa: E402
from hypothesis import settings  # noqa: E402

if TYPE_CHECKING:
    from tests.loopback_chat_api import ChatServer

LOOPBACK = ["127.0.0.1", "::1", "localhost"]

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Refuse connections that leave this machine, from fixtures too."""
    pytest_socket.socket_allow_hosts(LOOPBACK, allow_unix_socket=True)


def pytest_unconfigure() -> None:
    """Remove the empty cache that stood in for the user's."""
    shutil.rmtree(_HUB_HOME, ignore_errors=True)


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator["ChatServer"]:
    """A chat API on loopback, its key in the environment, and nothing known yet of what it can."""
    from audio_agent_zoo.planner.openai_planner import KEY_ENV, OpenAIPlanner
    from tests.loopback_chat_api import KEY, ChatServer

    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setattr(OpenAIPlanner, "_known_rungs", {})
    with ChatServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _fixed_seeds() -> Iterator[None]:
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    yield
