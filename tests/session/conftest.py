import itertools

import pytest

from harness import Server

_names = itertools.count(1)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """One running server for the tests that only need mailboxes of their own."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_user(shared_server):
    """Makes a user nobody else uses; returns the bare name."""
    def make():
        name = f"user{next(_names)}"
        shared_server.add_user(name)
        return name
    return make


@pytest.fixture
def make_server(tmp_path):
    """Servers of the test's own, with settings: make_server(errors_max=3).  Stopped and checked at the end."""
    made = []

    def make(start=True, users=(), **settings):
        server = Server(tmp_path / f"s{len(made)}", **settings)
        made.append(server)
        for user in users:
            server.add_user(user)
        if start:
            server.start()
        return server

    yield make
    for server in made:
        server.stop()
