"""A real PostgreSQL on the loopback interface, ours to kill, to pause, and to start again."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from tests.testbed.certificates import Authority
from tests.testbed.patience import until
from tests.testbed.processes import Program, free_port, runs

SUPERUSER: Final = "admin"
_PACKAGED: Final = Path("/usr/lib/postgresql")
#: Without safety from power cuts, which no test here makes: a kill loses nothing that the kernel has.
_FLAGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


class Postgres:
    """One server with data of its own. Its log is in ``folder``; ``flags``: more of its settings."""

    def __init__(self, folder: Path, flags: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Not below ``folder``: a root's temporary folders are closed to the user that the server runs as.
        self.data = Path(tempfile.mkdtemp(prefix="hubquota-postgres-"))
        self.port, self.password = free_port(), secrets.token_hex(8)
        self._as = _other_user(self.data)
        self._initialise(folder)
        told = {**_FLAGS, "port": str(self.port), **(flags or {})}
        command = [*self._as, str(_program("postgres")), "-D", str(self.data)]
        command += [f"--{name}={value}" for name, value in told.items()]
        self.program = Program("postgres", command, folder / "postgres.log", folder=self.data)

    @property
    def url(self) -> str:
        """The server's own database, as the superuser."""
        return self.url_of("postgres")

    def url_of(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """A URL as the ledger takes it."""
        secret = self.password if password is None else password
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def secure(self, authority: Authority) -> None:
        """Have it speak TLS with a certificate for 127.0.0.1, and with nobody who does not. Before it starts."""
        certificate, key = authority.server("127.0.0.1")
        for name, content in (("server.crt", certificate), ("server.key", key)):
            self._write(name, content)
        self.program.command = [*self.program.command, "--ssl=on"]
        self._write("pg_hba.conf", b"hostssl all all 127.0.0.1/32 scram-sha-256\n")

    def start(self) -> None:
        """Start it and wait until it answers. Raises NotReady."""
        self.program.start()
        self.program.ready(self.answers)

    def stop(self) -> None:
        """End it without waiting for its clients. Its data stay."""
        if self.program.running:
            self.resume()
            os.kill(self.program.pid, signal.SIGINT)
            self.program.stop()

    def kill(self) -> None:
        """SIGKILL for all its processes; ``start`` then recovers what was committed."""
        pids = list(self._pids())  # all that there are, before the first is gone and its children are not its own
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self.program.kill()
        until(lambda: not any(runs(pid) for pid in pids))  # each has the shared memory that a start wants alone

    def pause(self) -> None:
        """Have it answer nobody, with all connections open, as a machine that hangs does."""
        for pid in self._pids():
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after ``pause``."""
        for pid in self._pids():
            _signal(pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop it, and delete its data."""
        self.stop()
        shutil.rmtree(self.data)

    def database(self) -> str:
        """The URL of a database that was not there before, with nothing in it."""
        name = f"t_{secrets.token_hex(6)}"
        self.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url_of(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        name = url.rpartition("/")[2]
        self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def run(self, *statements: sql.SQL | sql.Composed, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser, each by itself; the rows of the last, if it has any."""
        with psycopg.connect(self.url_of(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def answers(self) -> bool:
        """Whether it takes connections."""
        command = [str(_program("pg_isready")), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(command, timeout=10, check=False).returncode == 0

    def _initialise(self, folder: Path) -> None:
        secret = self.data / ".password"
        self._write(secret.name, self.password.encode())
        command = [*self._as, str(_program("initdb")), "-D", str(self.data / "new"), "-U", SUPERUSER, "-E", "UTF8"]
        command += ["--no-locale", "--no-sync", "--auth=scram-sha-256", f"--pwfile={secret}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=self.data)
        if done.returncode:
            raise RuntimeError(f"initdb: {done.stderr[-2000:]}")
        secret.unlink()
        self._inner()

    def _inner(self) -> None:
        """initdb wants an empty folder; the password lay beside it."""
        for found in (self.data / "new").iterdir():
            found.rename(self.data / found.name)
        (self.data / "new").rmdir()

    def _write(self, name: str, content: bytes) -> None:
        file = self.data / name
        file.write_bytes(content)
        file.chmod(0o600)
        owner = self.data.stat()
        os.chown(file, owner.st_uid, owner.st_gid)

    def _pids(self) -> Iterator[int]:
        """The server and the processes that it made; these are in sessions of their own."""
        if not self.program.running:
            return
        yield self.program.pid
        children = Path(f"/proc/{self.program.pid}/task/{self.program.pid}/children")
        yield from map(int, children.read_text().split())


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # a connection's process that has ended by itself


def _other_user(data: Path) -> list[str]:
    """What makes a program of ours run as a user who is not root, whom ``data`` then belongs to."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    # It changes the user first, for the kernel forgets the signal then.
    ids = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    return ["setpriv", *ids, "--pdeathsig", "KILL"]


def _program(name: str) -> Path:
    """The newest of Debian's, else the one on the path. Raises RuntimeError that says what to install."""
    packaged = sorted(_PACKAGED.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(packaged[-1]) if packaged else shutil.which(name)
    if found is None:
        raise RuntimeError(f"there is no {name}: apt-get install postgresql, or put PostgreSQL's programs on the path")
    return Path(found)
