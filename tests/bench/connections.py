"""Open connections: how many a door holds that say nothing for a while, and what each of them takes."""

import functools
import resource
import socket
from pathlib import Path

from bench.marks import bench
from bench.door import Nginx
from bench.system import Chain

WANTED = 50000
SPARE = 500  # descriptors that a process needs beside them
PER_ADDRESS = 1000


def memory(pid):
    """Bytes that a process has, in RAM or swapped out."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("VmRSS:", "VmSwap:")))


def limit():
    """Of descriptors, for this process and those that it starts from now on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Crowd:
    """Connections that are kept alive, from many addresses."""

    def __init__(self, url, count):
        host, _, port = url.split("/")[2].partition(":")
        self.to = (host, int(port))
        self.request = f"GET /{url.split('/', 3)[3]} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.sockets = []
        try:
            for i in range(count):
                self.sockets.append(self.come(i // PER_ADDRESS))
        except BaseException:
            self.leave()
            raise

    def come(self, address):
        s = socket.socket()
        s.bind((f"127.1.{address // 250}.{address % 250 + 1}", 0))
        s.connect(self.to)
        assert self.ask(s), "a new connection has no answer"
        return s

    def ask(self, s):
        """Whether it is answered, well and whole."""
        s.settimeout(60)
        s.sendall(self.request)
        answer = s.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        return answer.startswith(b"HTTP/1.1 20") and len(body) == int(lengths[0].split(b":")[1])

    def alive(self):
        return sum(map(self.ask, self.sockets))

    def leave(self):
        for s in self.sockets:
            s.close()


def hold(url, pid, count):
    """How many of so many connections are alive at the end, and bytes of the process's memory for each."""
    # What the first ones need is there already.
    Crowd(url, 100).leave()
    before = memory(pid)
    crowd = Crowd(url, count)
    try:
        alive = crowd.alive()
        assert alive == count, f"{count - alive} of {count} connections were lost"
        return alive, (memory(pid) - before) / alive
    finally:
        crowd.leave()


@functools.cache
def held(given):
    """Ours and nginx's."""
    count = min(given.many(WANTED), limit() - SPARE)
    given.tell(f"{count:,} were tried: {WANTED * given.size:,.0f} are wanted, and descriptors allow {limit() - SPARE:,}")
    with Chain(given) as chain:
        (item, *_) = chain.sell(1)
        chain.start(connections_max=WANTED + SPARE, idle_timeout="1h")
        chain.applied()
        ours = hold(f"{chain.url}/v1/items/{item}", chain.door.process.pid, count)
    with Nginx(given, WANTED + SPARE) as nginx:
        return ours, hold(nginx.url, nginx.process.pid, count)


@bench("connections", "connections", "file descriptors that a process may have", runs=1)
def connections(given):
    """Many kept-alive connections ask the producer for an item, stand idle, and all ask once more."""
    (alive, _), _ = held(given)
    return alive, limit()


@bench("memory-connection", "bytes", "an idle connection of nginx", runs=1, is_cost=True)
def memory_connection(given):
    """The producer's memory for each of these connections."""
    (_, ours), (_, theirs) = held(given)
    return ours, theirs
