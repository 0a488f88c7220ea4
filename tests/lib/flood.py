"""A flood of orders: open loop, each at its time whatever became of those before."""

import asyncio
import itertools
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from lib.system import token

NUMBERS = itertools.count(1)


@dataclass
class Answer:
    at_s: float  # since the flood began, as planned
    took_s: float = float("inf")  # from then on; no end: none until the flood was over
    status: int = 0
    reason: str = ""
    retry_after_s: int = 0


class Flood:
    """One order each, of a user each.  They wait for the decision, or only until it is accepted."""

    def __init__(self, door, item, wait_s=0):
        self.door = door
        self.address = urlsplit(door.url)
        self.body = json.dumps({"item_id": item}).encode()
        self.wait_s = wait_s
        self.idle = []

    def request(self):
        lines = [
            "POST /v1/orders HTTP/1.1",
            f"Host: {self.address.netloc}",
            f"Authorization: Bearer {token(self.door.secret, f'flood-{next(NUMBERS)}')}",
            "Content-Type: application/json",
            f"Content-Length: {len(self.body)}",
        ]
        if self.wait_s:
            lines.append(f"Prefer: wait={self.wait_s}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body

    async def ask(self, answer, began):
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(began + answer.at_s - clock())
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.address.hostname, self.address.port)
        try:
            writer.write(self.request())
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            head = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = json.loads(await reader.readexactly(int(head["content-length"])))
        except asyncio.CancelledError:
            writer.close()
            raise
        answer.took_s = clock() - began - answer.at_s
        answer.status = int(status.split()[1])
        answer.reason = body.get("reason", "")
        answer.retry_after_s = int(head.get("retry-after", 0))
        self.idle.append((reader, writer))

    async def flow(self, rate, seconds):
        answers = [Answer(n / rate) for n in range(int(rate * seconds))]
        began = asyncio.get_running_loop().time()
        tasks = [asyncio.create_task(self.ask(answer, began)) for answer in answers]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), repr(result)
        for _, writer in self.idle:
            writer.close()
        self.idle.clear()
        return answers

    def press(self, rate, seconds):
        """So many a second for so long; all answers, also those that had not come at the end."""
        return asyncio.run(self.flow(rate, seconds))
