"""The page's file by itself, as a Hugging Face Space runs it: copied under another name, told where to listen."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

pytest.importorskip("gradio", reason="the page needs the extra: pip install -e '.[app]'")

from audio_agent_zoo.app import page


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def space(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    app = tmp_path / "app.py"
    app.write_bytes(Path(page.__file__).read_bytes())
    told = {"GRADIO_SERVER_PORT": str(port), "SPACE_ID": "someone/studio", "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(app)]
    run = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **told}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield run
    run.kill()
    run.wait()


def test_it_serves_on_loopback_where_it_is_told_and_leaves_nothing(
    space: subprocess.Popen[str], port: int, tmp_path: Path
) -> None:
    give_up = time.monotonic() + 200
    while True:
        assert space.poll() is None, space.stdout.read() if space.stdout else ""
        assert time.monotonic() < give_up, "it did not begin to serve"
        try:
            with urlopen(f"http://127.0.0.1:{port}/config", timeout=5) as answer:
                config = answer.read().decode()
            break
        except (URLError, OSError):
            time.sleep(0.5)
    assert "Audio Agent studio" in config and '"analytics_enabled":false' in config.replace(" ", "")
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    addresses = [line.split()[1].split(":")[0] for line in listening if line.split()[1].endswith(f":{port:04X}")]
    assert set(addresses) == {"0100007F"}, "it listens beyond this machine"
    assert list(tmp_path.glob("audio-agent-sessions-*"))
    space.send_signal(signal.SIGINT)
    space.wait(60)
    assert not list(tmp_path.glob("audio-agent-sessions-*")), "visitors' sessions stay behind"
