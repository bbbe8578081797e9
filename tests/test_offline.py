"""The suite's own promise: a test that leaves this machine fails, one on loopback works."""

import os
import socket

import pytest
from pytest_socket import SocketConnectBlockedError


@pytest.mark.filterwarnings("ignore:A test tried to use")
def test_only_loopback_is_reached() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname(), timeout=5):
            pass
        # This machine under a name that the guard does not list: refused by the guard, not by the network.
        with socket.socket() as client, pytest.raises(SocketConnectBlockedError):
            client.connect(("127.0.0.2", server.getsockname()[1]))


def test_no_key_of_the_person_who_runs_the_tests_is_seen() -> None:
    assert not [name for name in os.environ if name.startswith(("OPENAI_", "AUDIO_AGENT_", "HF_TOKEN"))]
