"""What all tests share: servers that end with the test, `distributary` as a process, a folder for the run's files."""

import os
import signal
import sys
import warnings
from pathlib import Path

import pytest

warnings.filterwarnings("ignore", message="Unverified HTTPS request")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from distributary import Local  # noqa: E402
from servers import OTHERS, Moto  # noqa: E402


def pytest_configure(config):
    # A killed run still ends what it started, as Ctrl-C does. (A SystemExit would only fail the test at hand.)
    def stop(*_):
        raise KeyboardInterrupt("SIGTERM")
    signal.signal(signal.SIGTERM, stop)


@pytest.fixture
def files(tmp_path):
    """A folder for this test's state, logs and configuration."""
    return tmp_path


@pytest.fixture
def start_local(files):
    """Starts `distributary local` with these streams and options; ended with the test."""
    started = []

    def start(*streams, options=()):
        server = Local(files, streams, options)
        started.append(server)
        return server.start()

    yield start
    codes = [server.stop() for server in started]
    assert all(code in (0, None) for code in codes), f"distributary local ended with {codes}, SIGTERM ends it with 0"


@pytest.fixture
def start_server(files, start_local):
    """Starts the server of that name: `local` or one that others wrote."""
    started = []

    def start(name):
        if name == "local":
            return start_local()
        server = OTHERS[name](files)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def dynamo(files):
    """A DynamoDB for the leases of KCL applications."""
    with Moto(files) as server:
        yield server


@pytest.fixture
def measured(request):
    """Prints what a test measured, so that a run can be read like a report."""
    def say(text):
        print(f"    {request.node.name}: {text}", flush=True)
    print(flush=True)
    return say


LONG = os.environ.get("INTEROP_LONG") == "1"
