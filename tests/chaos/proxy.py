"""TCP proxies between the programs, and what can go wrong on the way.

A Link listens on a port of its own and passes bytes on to its target.  "up" is from client to server.
Whatever loses bytes ends the connections that lost them when it is healed: a stream with a hole in it
is nothing that TCP would deliver.

This is a program (of network.py): an order per line of stdin, an answer per line of stdout, both JSON; it
ends with its stdin.
"""

import asyncio
import json
import random
import socket
import struct
import sys


class Flow:
    """One direction of a link."""

    def __init__(self):
        self.open = asyncio.Event()
        self.reset()

    def reset(self):
        self.open.set()
        self.delay_s = self.jitter_s = 0.0
        self.rate = None  # bytes per second
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
    def __init__(self, name):
        self.target = None  # (host, port); may change: new connections go there
        self.dice = random.Random(name)
        self.connections = set()
        self.is_refusing = False
        self.flows = {"up": Flow(), "down": Flow()}
        self.server = None

    async def listen(self):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    # -- orders

    def aim(self, host, port):
        self.target = (host, port)

    def clog(self, *directions):
        """Nothing passes, nothing is lost, nobody is told; until heal()."""
        for d in directions or ("up", "down"):
            self.flows[d].open.clear()

    def delay(self, seconds, jitter=0.0):
        for flow in self.flows.values():
            flow.delay_s, flow.jitter_s = seconds, jitter

    def throttle(self, rate, direction="up"):
        """So many bytes per second pass that way on each connection; what is more waits."""
        self.flows[direction].rate = rate

    def swallow(self, direction="down"):
        """What is sent that way is gone, and the connection seems to live."""
        self.flows[direction].is_swallowing = True

    def cut(self):
        """Every connection is reset now; new ones are taken."""
        for c in list(self.connections):
            c.abort()

    def cut_after(self, n, direction="down"):
        """The next n bytes that way pass, then their connection is reset, once."""
        self.flows[direction].left = n

    def halve(self, side="client"):
        """One side of every connection is reset; the other knows nothing of it until heal()."""
        for c in list(self.connections):
            c.has_hole = True
            c.abort(side)

    def refuse(self):
        """Connections are reset, new ones too."""
        self.is_refusing = True
        self.cut()

    def retarget(self, host, port):
        """What moves an address does this: old connections end, new ones go elsewhere."""
        self.aim(host, port)
        self.cut()

    def heal(self):
        self.is_refusing = False
        for flow in self.flows.values():
            flow.reset()
        for c in list(self.connections):
            if c.has_hole:
                c.abort()

    # -- bytes

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
            while data := await reader.read(max(1, flow.rate // 50) if flow.rate else 65536):
                if flow.rate:
                    await asyncio.sleep(len(data) / flow.rate)
                if flow.delay_s or flow.jitter_s:
                    await asyncio.sleep(flow.delay_s + self.dice.random() * flow.jitter_s)
                await flow.open.wait()
                if flow.is_swallowing:
                    connection.has_hole = True
                    continue
                if flow.left is not None:
                    data, flow.left = data[: flow.left], flow.left - len(data)
                writer.write(data)
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


async def obey(links, name, act, args):
    """The answer to one order."""
    if act == "listen":
        links[name] = Link(name)
        return await links[name].listen()
    return getattr(links[name], act)(*args)


async def main():
    links = {}
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        print(json.dumps(await obey(links, *json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
