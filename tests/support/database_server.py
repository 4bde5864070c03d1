"""Starts and ends private database servers and a faulty network for the tests, by pid, on loopback, on free ports.

As a command, one server for the length of another command:

    python3 tests/support/database_server.py run postgresql|mariadb|pgbouncer -- COMMAND [ARGUMENT ...]

COMMAND finds in PENSTOCK_TEST_DATABASE the url of a database that is its own, and in PENSTOCK_TEST_DATABASE_ADMIN that of the
server's superuser (for pgbouncer: past it, straight to the server). It can make faults: PENSTOCK_TEST_DATABASE_PROXY is a url
that leads through a network (Proxy), PENSTOCK_TEST_DATABASE_FAULTS the Unix socket of what makes them (Faults).

The servers run with their default durability. They end with the thread that started them, even if that is killed.
"""

import argparse
import contextlib
import ctypes
import glob
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 120
_libc = ctypes.CDLL(None, use_errno=True)


def wait_until(condition, what: str, patience: float = PATIENCE):
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.01)
    return value


def program(name: str, package: str, *folders: str) -> str:
    """The path of a server's binary, which need not be on PATH."""
    found = [f"{folder}/{name}" for pattern in folders for folder in sorted(glob.glob(pattern), key=_by_number)[::-1]]
    for candidate in [*found, shutil.which(name) or "", f"/usr/sbin/{name}"]:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise RuntimeError(f"{name} is missing: install Debian's package {package}")


def _by_number(folder: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder)]


def dies_with_parent(signal_number: int):
    """For preexec_fn. Popen calls it after it changed the user, which would have cleared it."""
    parent = os.getpid()

    def set_it():
        _libc.prctl(1, signal_number)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return set_it


class Port:
    """A port of loopback that stays ours while the server on it is down: bound, never listening."""

    def __init__(self):
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.number: int = self._holder.getsockname()[1]


class Server:
    """What the kinds share: one process, its log, and the user it runs as."""

    name = ""
    scheme = ""
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL

    def __init__(self, folder: pathlib.Path, more: str = ""):
        self.folder = pathlib.Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.more = more  # read at each start
        self.log = self.folder / f"{self.name}.log"
        self.password = secrets.token_hex(8)
        self._port = Port()
        self.process: subprocess.Popen | None = None

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def url(self) -> str:
        return f"{self.scheme}://penstock:{self.password}@127.0.0.1:{self.port}/penstock"

    @property
    def admin_url(self) -> str:
        return self.url

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def command(self) -> list:
        raise NotImplementedError

    def serves(self) -> bool:
        raise NotImplementedError

    def start(self):
        if self.alive():
            return self
        with open(self.log, "ab") as sink:
            self.process = subprocess.Popen(
                [str(a) for a in self.command()], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=self.folder,
                start_new_session=True, preexec_fn=dies_with_parent(self.death_signal), **self._user(),
            )
        try:
            wait_until(self._serves_or_ended, f"{self.name} serves")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, patience: float = PATIENCE) -> int:
        """Gracefully, without waiting for clients to leave."""
        if self.alive():
            self.process.send_signal(self.stop_signal)
        return self.process.wait(patience) if self.process else 0

    def kill(self) -> int:
        """As a power cut would end it."""
        if self.alive():
            self.process.kill()
        return self.process.wait(PATIENCE) if self.process else 0

    def restart(self):
        self.stop()
        return self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _serves_or_ended(self) -> bool:
        if not self.alive():
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self._tail()}")
        return self.serves()

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def _user(self) -> dict:
        """Popen's options for a server that refuses to run as root."""
        if os.getuid() != 0:
            return {}
        account = self._account()
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    @staticmethod
    def _account() -> pwd.struct_passwd:
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise RuntimeError("neither of the users postgres and nobody exists, and the server does not run as root")

    def _give(self, *folders: pathlib.Path):
        """Makes folders the server's own and lets it pass through the temporary folders above them."""
        if os.getuid() != 0:
            return
        account = self._account()
        for folder in folders:
            os.chown(folder, account.pw_uid, account.pw_gid)
            for above in folder.parents:
                mode = above.stat().st_mode
                if mode & stat.S_IXOTH or above.stat().st_uid == account.pw_uid:
                    continue
                if not above.is_relative_to(pathlib.Path(tempfile.gettempdir()).resolve()):
                    raise RuntimeError(f"user {account.pw_name}, as whom {self.name} runs, cannot enter {above}")
                above.chmod(mode | stat.S_IXOTH)


def _checked(arguments, what: str, **options) -> str:
    done = subprocess.run(
        [str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, **options
    )
    if done.returncode != 0:
        raise RuntimeError(f"{what}: {(done.stderr or done.stdout).strip()[-3000:]}")
    return done.stdout


class Postgresql(Server):
    """User penstock is superuser. Passwords are asked for over TCP only."""

    name = "postgresql"
    scheme = "postgresql"
    stop_signal = signal.SIGINT  # fast
    death_signal = signal.SIGQUIT  # at once, yet leaving neither children nor shared memory
    BINARIES = "/usr/lib/postgresql/*/bin"

    def __init__(self, folder: pathlib.Path, more: str = "", data: pathlib.Path | None = None, initdb=()):
        """more: lines of postgresql.conf; data: where its data go, such as a small tmpfs; initdb: more arguments for it."""
        super().__init__(folder, more)
        self._postgres = program("postgres", "postgresql-15", self.BINARIES)
        self._psql = program("psql", "postgresql-client-15", self.BINARIES)
        self.data = pathlib.Path(data).resolve() if data else self.folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self._give(self.folder, self.data)
        self._make(initdb)

    def _make(self, initdb):
        password = self.folder / "password"
        password.write_text(self.password)
        _checked(
            [program("initdb", "postgresql-15", self.BINARIES), "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256",
             "--username=penstock", f"--pwfile={password}", "--encoding=UTF8", "--locale=C.UTF-8", *initdb, self.data],
            "initdb", cwd=self.folder, **self._user(),
        )
        password.unlink()
        self.start()
        self.sql("CREATE DATABASE penstock", "postgres")

    def command(self) -> list:
        configuration = self.folder / "postgresql.conf"
        configuration.write_text(
            f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.folder}'\n"
            f"timezone = 'UTC'\nlog_timezone = 'UTC'\nlc_messages = 'C.UTF-8'\nlog_line_prefix = '%m [%p] '\n{self.more}\n"
        )
        return [self._postgres, "-D", self.data, "-c", f"config_file={configuration}"]

    def serves(self) -> bool:
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().split("\n")
            return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def sql(self, text: str, database: str = "penstock") -> str:
        """Rows as lines, columns apart by '|'."""
        return _checked(
            [self._psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", self.port, "-U", "penstock",
             "-d", database],
            text, input=text,
        ).rstrip("\n")

    def session(self, database: str = "penstock") -> "PsqlSession":
        return PsqlSession(self, database)

    def set_password(self, password: str):
        """Of the user penstock; `password` and `url` keep the first one."""
        self.sql(f"ALTER USER penstock PASSWORD '{password}'")

    def end_sessions(self):
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")

    def kill(self) -> int:
        """With all its children; what it would leave in the system's shared memory is removed."""
        if not self.alive():
            return super().kill()
        self.process.send_signal(signal.SIGSTOP)  # no more children
        children = _children(self.pid)
        shared = {path for pid in [self.pid, *children] for path in _shared_memory(pid)}
        for pid in [self.pid, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = super().kill()
        wait_until(lambda: not any(_running(pid, "postgres") for pid in children), "the killed server's children are gone")
        for path in shared:
            pathlib.Path(path).unlink(missing_ok=True)
        with contextlib.suppress(OSError, IndexError, ValueError):  # the 7th line: key and id of a System V segment
            identifier = (self.data / "postmaster.pid").read_text().split("\n")[6].split()[1]
            _libc.shmctl(int(identifier), 0, None)  # IPC_RMID
        return code


class PsqlSession:
    """One psql that stays connected."""

    def __init__(self, server: Postgresql, database: str):
        psql = program("psql", "postgresql-client-15", server.BINARIES)
        self.process = subprocess.Popen(
            [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(server.folder), "-p", str(server.port), "-U", "penstock",
             "-d", database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def tell(self, sql: str):
        """Without waiting until it is done."""
        self.process.stdin.write(sql)
        self.process.stdin.flush()

    def run(self, sql: str = ""):
        """Returns when it, and all that was told before, is committed."""
        self.tell(sql + "\\echo done\n")
        while (line := self.process.stdout.readline()) != "done\n":
            if not line:
                raise RuntimeError("psql has ended: a statement failed")


class PostgresqlReplica(Postgresql):
    """Streams from a primary, and answers what only reads. Not durable: without it a start writes all files to the disk."""

    def __init__(self, folder: pathlib.Path, primary: Postgresql):
        self.primary = primary
        super().__init__(folder, "fsync = off\nwal_retrieve_retry_interval = 200ms")

    def _make(self, initdb):
        self.password = self.primary.password
        self.data.chmod(0o700)
        _checked(
            [program("pg_basebackup", "postgresql-client-15", self.BINARIES), "--no-sync", "--checkpoint=fast",
             "--write-recovery-conf", "--create-slot", "--slot=replica",  # so that the primary keeps what a replica has missed
             "-h", self.primary.folder, "-p", self.primary.port, "-U", "penstock", "-D", self.data],
            "pg_basebackup", cwd=self.folder, **self._user(),
        )
        self.start()

    def freeze(self):
        """Shows nothing newer until thaw()."""
        self.sql("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self.sql("SELECT pg_get_wal_replay_pause_state()") == "paused", "the replica is frozen")

    def thaw(self):
        self.sql("SELECT pg_wal_replay_resume()")


def _children(parent: int) -> list[int]:
    found = []
    for tasks in glob.glob(f"/proc/{parent}/task/*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in pathlib.Path(tasks).read_text().split()]
    return found


def _shared_memory(pid: int) -> list[str]:
    try:
        return re.findall(r"/dev/shm/PostgreSQL\.\d+", pathlib.Path(f"/proc/{pid}/maps").read_text())
    except OSError:
        return []


def _running(pid: int, name: str) -> bool:
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return f"({name}" in fields and fields.rpartition(")")[2].split()[0] not in "ZX"


class Mariadb(Server):
    """User penstock owns database penstock; root, with the same password, owns the server."""

    name = "mariadb"
    scheme = "mysql"

    def __init__(self, folder: pathlib.Path, more: str = "", data: pathlib.Path | None = None):
        """more: lines of my.cnf's [mariadbd]; data: where its data go, such as a small tmpfs."""
        super().__init__(folder, more)
        self._mariadbd = program("mariadbd", "mariadb-server-core")
        self._client = program("mariadb", "mariadb-client-core")
        self.data = pathlib.Path(data).resolve() if data else self.folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self._bootstrap()
        self.start()

    def _bootstrap(self):
        """What mariadb-install-db does, without the help tables, which take most of its time."""
        share = next(
            (s for s in sorted(glob.glob("/usr/share/m*")) if os.path.exists(f"{s}/mysql_system_tables.sql")), None
        )
        if share is None:
            raise RuntimeError("mysql_system_tables.sql is missing: install Debian's package mariadb-server-core")
        files = ("mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data")
        accounts = "".join(
            f"CREATE USER penstock@'{host}' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON penstock.* TO penstock@'{host}';\n"
            for host in ("127.0.0.1", "localhost")
        )
        text = (
            "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"
            + "\n".join(pathlib.Path(f"{share}/{file}.sql").read_text() for file in files)
            + "\nDELETE FROM mysql.global_priv WHERE User = '' OR Host NOT IN ('localhost', '127.0.0.1');\n"
            + "DELETE FROM mysql.proxies_priv WHERE Host <> 'localhost';\nFLUSH PRIVILEGES;\n"
            + f"CREATE DATABASE penstock;\n{accounts}"
            + f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            + "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        with open(self.log, "ab") as sink:
            done = subprocess.run(
                [*self.command(), "--bootstrap", "--skip-networking", "--log-warnings=0",
                 "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync"],
                input=text.encode(), stdout=sink, stderr=sink, cwd=self.folder, timeout=PATIENCE,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        if done.returncode != 0:
            raise RuntimeError(f"mariadbd --bootstrap ended with {done.returncode}:\n{self._tail()}")

    @property
    def admin_url(self) -> str:
        return f"mysql://root:{self.password}@127.0.0.1:{self.port}/penstock"

    @property
    def socket(self) -> pathlib.Path:
        return self.folder / "mariadb.sock"

    def command(self) -> list:
        configuration = self.folder / "my.cnf"
        user = "user = root\n" if os.getuid() == 0 else ""
        temporary = self.folder / "tmp"  # one that starts removes the temporary tables that it finds, also another's
        temporary.mkdir(exist_ok=True)
        configuration.write_text(
            f"[mariadbd]\ndatadir = {self.data}\nsocket = {self.socket}\nport = {self.port}\nbind-address = 127.0.0.1\n"
            f"tmpdir = {temporary}\npid-file = {self.folder}/mariadb.pid\nskip-name-resolve\n{user}{self.more}\n"
        )
        return [self._mariadbd, f"--defaults-file={configuration}"]

    def _user(self) -> dict:
        return {}

    def serves(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(str(self.socket))
            return probe.recv(5)[4:] == b"\x0a"  # its greeting
        return False

    def session(self, database: str = "penstock") -> "PsqlSession":
        return PsqlSession(self, database)

    def set_password(self, password: str):
        """Of the user penstock; `password` and `url` keep the first one."""
        self.sql("".join(f"ALTER USER penstock@'{host}' IDENTIFIED BY '{password}';" for host in ("127.0.0.1", "localhost")))

    def end_sessions(self):
        sessions = self.sql("SELECT id FROM information_schema.processlist WHERE user = 'penstock'").split()
        self.sql("".join(f"KILL {session};" for session in sessions))

    def sql(self, text: str, database: str = "penstock") -> str:
        """Rows as lines, columns apart by tabs."""
        return _checked(
            [self._client, "--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4",
             f"--socket={self.socket}", "--user=root", database],
            text, input=text,
        ).rstrip("\n")


class MariadbReplica(Mariadb):
    """Repeats what a primary does from now on, and answers what only reads. The primary's `more` is LOG."""

    LOG = "log-bin = binary\nserver-id = 1"

    def __init__(self, folder: pathlib.Path, primary: Mariadb):
        self.primary = primary
        super().__init__(folder, "server-id = 2\nread-only\nrelay-log = relay")
        file, position = primary.sql("SHOW MASTER STATUS").split()[:2]
        self.sql(f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {primary.port}, MASTER_USER = 'root',"
                 f" MASTER_PASSWORD = '{primary.password}', MASTER_LOG_FILE = '{file}', MASTER_LOG_POS = {position},"
                 " MASTER_CONNECT_RETRY = 1; START SLAVE")

    def _bootstrap(self):
        self.password = self.primary.password
        super()._bootstrap()

    def freeze(self):
        """Shows nothing newer until thaw()."""
        self.sql("STOP SLAVE SQL_THREAD")

    def thaw(self):
        self.sql("START SLAVE SQL_THREAD")


class Pgbouncer(Server):
    """In transaction mode, in front of a server that it does not own."""

    name = "pgbouncer"
    scheme = "postgresql"

    def __init__(self, folder: pathlib.Path, postgresql: Postgresql, more: str = ""):
        """more: lines of pgbouncer.ini's [pgbouncer]."""
        super().__init__(folder, more)
        self._pgbouncer = program("pgbouncer", "pgbouncer")
        self.postgresql = postgresql
        self.password = postgresql.password
        self._give(self.folder)
        self.start()

    @property
    def admin_url(self) -> str:
        return self.postgresql.admin_url

    def command(self) -> list:
        users = self.folder / "users.txt"
        users.write_text(f'"penstock" "{self.password}"\n')
        configuration = self.folder / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.postgresql.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
            f"auth_file = {users}\npool_mode = transaction\n{self.more}\n"
        )
        return [self._pgbouncer, configuration]

    def serves(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def sql(self, text: str, database: str = "penstock") -> str:
        return self.postgresql.sql(text, database)


class Proxy:
    """A network between a client and a server, with faults at will. Its url is the server's with `port` in it.

    forward  as a network should
    swallow  a black hole: connections are accepted and bytes taken, and nothing ever comes out; what was swallowed stays lost,
             so a connection that was open meanwhile remains a black hole
    stall    nothing is taken any more, so that buffers fill; all goes on where it stood with the next mode
    refuse   new connections are refused; those that are open go on
    """

    MODES = ("forward", "swallow", "stall", "refuse")

    def __init__(self, target_port: int):
        self.target_port = target_port
        self._port = Port()
        self._changed = threading.Condition()
        self._mode = "forward"
        self._links: set[_Link] = set()
        self._listener: socket.socket | None = None
        self._listen()

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str):
        if mode not in self.MODES:
            raise ValueError(f"{mode}: not one of {self.MODES}")
        with self._changed:
            if mode == "swallow":
                for link in self._links:
                    link.black = True
            self._mode = mode
            self._changed.notify_all()
        if mode == "refuse":
            self._close_listener()
        elif self._listener is None:
            self._listen()

    def url(self, server: Server) -> str:
        return server.url.replace(f":{server.port}/", f":{self.port}/")

    def connections(self) -> int:
        with self._changed:
            return len(self._links)

    def cut(self):
        """Closes all connections, now."""
        with self._changed:
            links = list(self._links)
        for link in links:
            self._end(link)

    def close(self):
        self._close_listener()
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # For a test's list of processes.
    def alive(self) -> bool:
        return self._listener is not None or bool(self._links)

    kill = close

    def _listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _close_listener(self):
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()

    def _accept(self, listener: socket.socket):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._open(client)

    def _open(self, client: socket.socket):
        link = _Link(client)
        with self._changed:
            link.black = self._mode == "swallow"
            self._links.add(link)
        if not link.black:
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), 5)
                server.settimeout(None)
                with self._changed:
                    link.server = server
                    if link.ended:  # cut meanwhile: closing it is left to us
                        server.close()
                        return
                for side in (link.client, link.server):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:  # the server is away, or the link was cut in between: the next connection is accepted all the same
                self._end(link)
                return
            threading.Thread(target=self._pump, args=(link, link.server, link.client), daemon=True).start()
        threading.Thread(target=self._pump, args=(link, link.client, link.server), daemon=True).start()

    def _pump(self, link: "_Link", source: socket.socket, sink: socket.socket | None):
        with contextlib.suppress(OSError):
            while chunk := self._read(link, source):
                if not link.black:
                    sink.sendall(chunk)
        if link.black and not link.ended:  # the end of a connection is swallowed too
            return
        self._end(link)

    def _read(self, link: "_Link", source: socket.socket) -> bytes:
        self._wait_while_stalled(link)
        chunk = source.recv(65536)
        self._wait_while_stalled(link)
        return chunk

    def _wait_while_stalled(self, link: "_Link"):
        if self._mode == "stall":
            with self._changed:
                self._changed.wait_for(lambda: self._mode != "stall" or link.ended)

    def _end(self, link: "_Link"):
        with self._changed:
            link.ended = True
            self._links.discard(link)
            self._changed.notify_all()
        for side in (link.client, link.server):
            if side is not None:
                with contextlib.suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    side.shutdown(socket.SHUT_RDWR)
                side.close()


class _Link:
    def __init__(self, client: socket.socket):
        self.client = client
        self.server: socket.socket | None = None
        self.black = False
        self.ended = False


class Faults:
    """Carries out commands from a Unix socket, one a connection: a line with the command, answered by "ok" or what went wrong.

    forward, swallow, stall, refuse   the network's mode
    cut                               its connections
    kill, stop, start                 the database's server (for pgbouncer: the one behind it)
    """

    def __init__(self, path: pathlib.Path, proxy: Proxy, server: Server):
        self.path = path
        behind = getattr(server, "postgresql", server)
        self._commands = {
            "cut": proxy.cut, "kill": behind.kill, "stop": behind.stop, "start": behind.start,
            **{mode: lambda mode=mode: setattr(proxy, "mode", mode) for mode in Proxy.MODES},
        }
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        # One thread for all: a server ends with the thread that started it.
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rw") as lines:
                try:
                    self._commands[lines.readline().strip()]()
                    lines.write("ok\n")
                except Exception as failure:  # pylint: disable=broad-except
                    lines.write(f"{failure!r}\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def private_server(kind: str):
    """A server in a temporary folder, which goes with it."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="penstock-database-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if kind == "mariadb":
            yield stack.enter_context(Mariadb(folder))
            return
        server = stack.enter_context(Postgresql(folder / "postgresql", "wal_level = logical\nmax_slot_wal_keep_size = 64MB"))
        yield server if kind == "postgresql" else stack.enter_context(Pgbouncer(folder / "pgbouncer", server))


def run(kind: str, command: list[str]) -> int:
    with private_server(kind) as server, Proxy(server.port) as proxy, Faults(server.folder / "faults", proxy, server) as faults:
        environment = {
            **os.environ, "PENSTOCK_TEST_DATABASE": server.url, "PENSTOCK_TEST_DATABASE_ADMIN": server.admin_url,
            "PENSTOCK_TEST_DATABASE_PROXY": proxy.url(server), "PENSTOCK_TEST_DATABASE_FAULTS": str(faults.path),
        }
        with subprocess.Popen(command, env=environment, preexec_fn=dies_with_parent(signal.SIGTERM)) as process:
            try:
                code = process.wait()
            except BaseException:
                process.terminate()
                raise
    return code if code >= 0 else 128 - code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("kind", choices=["postgresql", "mariadb", "pgbouncer"])
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --")
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("a command is missing")

    def ends(number, _):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, ends)
    signal.signal(signal.SIGHUP, ends)
    try:
        return run(arguments.kind, command)
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, AssertionError, OSError) as failure:
        print(failure, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
