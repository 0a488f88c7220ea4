"""A private Kafka, Redis and MariaDB for tests: tools/stack.sh and tools/daemons.sh from Python."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pymysql

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD", ROOT / "build")).resolve()
BIN = BUILD / "bin"

# What a stack's env file may hold: a test must not hand the caller's own stack to its daemons.
_PREFIXES = ("SECKILL_", "KAFKA_", "REDIS_", "MYSQL_")
_KEPT = ("KAFKA_JARS", "KAFKA_HEAP")


def clean_environ():
    """The environment without anybody's servers or settings in it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not name.startswith(_PREFIXES)
    }


def read_env(path):
    """The assignments of an env file, as a shell reads them."""
    env = {}
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition("=")
        env[name] = "".join(shlex.split(value))
    return env


def read_properties(path):
    """The settings of a Java program's file."""
    lines = (line for line in Path(path).read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def mysql_of(env, **options):
    """A connection to the MySQL of an env file; options are pymysql's."""
    return pymysql.connect(
        host=env["MYSQL_HOST"],
        port=int(env["MYSQL_PORT"]),
        user=env["MYSQL_USER"],
        password=env["MYSQL_PASSWORD"],
        ssl={"check_hostname": False},  # if the server can
        **({"database": env["MYSQL_DATABASE"], "autocommit": True} | options),
    )


class ToolError(AssertionError):
    """A tool failed; its output says why."""


def run_tool(tool, *args, env=None, timeout=480):
    """Runs tools/TOOL and returns its stdout; ToolError with all it said when it fails."""
    done = subprocess.run(
        [ROOT / "tools" / tool, *map(str, args)],
        env=clean_environ() | (env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(
            f"{tool} {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


class Stack:
    """The servers in one directory.  Also a context manager, which removes the stack at its end."""

    def __init__(self, directory, given=None):
        """given: addresses of servers to use instead of ours, as in the environment."""
        self.dir = Path(directory).resolve()
        self.given = given or {}

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.remove()

    def start(self):
        run_tool("stack.sh", "start", self.dir, env=self.given)
        return self

    def stop(self):
        """Stops servers and daemons; the data stays."""
        run_tool("stack.sh", "stop", self.dir)

    def remove(self):
        """Stops servers and daemons and throws the data away; logs stay."""
        run_tool("stack.sh", "remove", self.dir)

    def kill(self, part, sig=signal.SIGKILL):
        """sig to kafka, redis or mysql; waits for the end of it when sig ends it."""
        run_tool("stack.sh", "kill", self.dir, part, signal.Signals(sig).name)

    def restart(self, part, environ=None):
        """part on its old port with its old data, whether it runs or not; environ comes on top of ours."""
        run_tool("stack.sh", "restart", self.dir, part, env=environ)

    def status(self):
        """{part: "running" or "stopped" or "yours"}."""
        done = subprocess.run(
            [ROOT / "tools" / "stack.sh", "status", self.dir],
            env=clean_environ(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return dict(line.split()[:2] for line in done.stdout.splitlines())

    def port(self, name):
        """A port that nobody else on this machine chooses, the same for each name every time."""
        return int(run_tool("stack.sh", "port", self.dir, name))

    @property
    def env(self):
        """DIR/env as it is now: pids change when a server is restarted."""
        return read_env(self.dir / "env")

    def environ(self, **settings):
        """The whole environment for a process on this stack; settings come on top."""
        return clean_environ() | self.env | {name: str(value) for name, value in settings.items()}

    def log(self, name):
        """The log of a server or daemon as text, "" when there is none yet."""
        path = self.dir / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start_daemons(self, *names, **settings):
        """One of each, or those named ("matcher-2" is one more), ready when this returns."""
        env = {"SECKILL_BIN": str(BIN)} | {name: str(value) for name, value in settings.items()}
        run_tool("daemons.sh", "start", self.dir, *names, env=env)

    def stop_daemons(self, *names):
        run_tool("daemons.sh", "stop", self.dir, *names, env={"SECKILL_BIN": str(BIN)})

    def kill_daemon(self, name, sig=signal.SIGKILL):
        run_tool(
            "daemons.sh", "kill", self.dir, name, signal.Signals(sig).name, env={"SECKILL_BIN": str(BIN)}
        )

    def processes(self):
        """{pid: command line} of everything that was started on this stack and still runs."""
        found = {}
        mark = f"SECKILL_STACK={self.dir}".encode()
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (proc / "environ").read_bytes().split(b"\0"):
                    found[int(proc.name)] = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found
