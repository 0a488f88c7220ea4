"""TCP proxies between the programs, and what can go wrong on the way.

A Link listens on a port of its own and passes bytes on to its target.  Its faults are set from any
thread; the bytes move in one event loop in a thread of this module.  "up" is from client to server.
Whatever loses bytes ends the connections that lost them when it is healed: a stream with a hole in it
is nothing that TCP would deliver.
"""

import asyncio
import random
import socket
import struct
import threading
import time


class Flow:
    """One direction of a link."""

    def __init__(self):
        self.open = asyncio.Event()
        self.reset()

    def reset(self):
        self.open.set()
        self.delay_s = self.jitter_s = 0.0
        self.is_swallowing = False
        self.left = None  # bytes until the cut


class Connection:
    def __init__(self, client, server):
        self.sides = {"client": client, "server": server}
        self.has_hole = False

    def abort(self, *which):
        """Ends it without a word: the peer sees a reset."""
        for side in which or ("client", "server"):
            sock = self.sides[side].get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sides[side].transport.abort()


class Link:
    def __init__(self, network, name, target=None):
        self.network = network
        self.name = name
        self.target = target  # (host, port); may change: new connections go there
        self.dice = random.Random(name)
        self.connections = set()
        self.is_refusing = False
        self.flows = {"up": Flow(), "down": Flow()}
        self.passed = {"up": 0, "down": 0}
        self.server = network.run(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]

    # -- what a test does to it

    def clog(self, *directions):
        """Nothing passes, nothing is lost, nobody is told; until heal()."""
        self._do(lambda: [self.flows[d].open.clear() for d in directions or ("up", "down")])

    def delay(self, seconds, jitter=0.0):
        def slow():
            for flow in self.flows.values():
                flow.delay_s, flow.jitter_s = seconds, jitter

        self._do(slow)

    def swallow(self, direction="down"):
        """What is sent that way is gone, and the connection seems to live."""

        def begin():
            self.flows[direction].is_swallowing = True

        self._do(begin)

    def cut(self):
        """Every connection is reset now; new ones are taken."""
        self._do(lambda: [c.abort() for c in list(self.connections)])

    def cut_after(self, n, direction="down"):
        """The next n bytes that way pass, then their connection is reset, once."""

        def begin():
            self.flows[direction].left = n

        self._do(begin)

    def halve(self, side="client"):
        """One side of every connection is reset; the other knows nothing of it until heal()."""
        self._do(lambda: [self._halve(c, side) for c in list(self.connections)])

    def refuse(self):
        """Connections are reset, new ones too."""

        def begin():
            self.is_refusing = True
            for c in list(self.connections):
                c.abort()

        self._do(begin)

    def retarget(self, host, port):
        """What moves an address does this: old connections end, new ones go elsewhere."""
        self.target = (host, port)
        self.cut()

    def heal(self):
        def end():
            self.is_refusing = False
            for flow in self.flows.values():
                flow.reset()
            for c in list(self.connections):
                if c.has_hole:
                    c.abort()

        self._do(end)

    # -- in the loop

    def _do(self, call):
        async def do():
            return call()

        return self.network.run(do())

    def _halve(self, connection, side):
        connection.has_hole = True
        connection.abort(side)

    async def _accept(self, reader, writer):
        if self.is_refusing or self.target is None:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        for w in (writer, up_writer):
            w.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(writer, up_writer)
        self.connections.add(connection)
        await asyncio.gather(
            self._pump(connection, "up", reader, up_writer), self._pump(connection, "down", up_reader, writer)
        )
        self.connections.discard(connection)

    async def _pump(self, connection, direction, reader, writer):
        flow = self.flows[direction]
        try:
            while data := await reader.read(65536):
                if flow.delay_s or flow.jitter_s:
                    await asyncio.sleep(flow.delay_s + self.dice.random() * flow.jitter_s)
                await flow.open.wait()
                if flow.is_swallowing:
                    connection.has_hole = True
                    continue
                if flow.left is not None:
                    data, flow.left = data[: flow.left], flow.left - len(data)
                writer.write(data)
                self.passed[direction] += len(data)
                await writer.drain()
                if flow.left is not None and flow.left <= 0:
                    flow.left = None
                    connection.abort()
                    return
            # A FIN waits in a clogged line like any byte.
            await flow.open.wait()
            if not connection.has_hole:
                writer.close()
        except OSError:
            if not connection.has_hole:
                connection.abort()


class Network:
    """All links of a test; a context manager."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="network", daemon=True)
        self.thread.start()
        self.links = {}

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def link(self, name, target=None):
        return self.links.setdefault(name, None) or self._make(name, target)

    def _make(self, name, target):
        self.links[name] = Link(self, name, target)
        return self.links[name]

    def heal(self):
        for link in self.links.values():
            link.heal()

    def close(self):
        for link in self.links.values():
            link.refuse()
            self.loop.call_soon_threadsafe(link.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


def swizzle(links, dice, pause_s):
    """Clogs some links one after the other, and opens them in another order."""
    some = dice.sample(links, dice.randint(1, len(links)))
    for link in some:
        link.clog()
        time.sleep(dice.uniform(0, pause_s))
    for link in dice.sample(some, len(some)):
        link.heal()
        time.sleep(dice.uniform(0, pause_s))
    return [link.name for link in some]
