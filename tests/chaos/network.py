"""The proxies of proxy.py, in a process of their own: bytes do not wait for a test's own work."""

import json
import subprocess
import sys
import threading
import time

from lib.stack import ROOT

ACTS = ("aim", "clog", "delay", "throttle", "swallow", "cut", "cut_after", "halve", "refuse", "retarget", "heal")
# A run that is cut off leaves nobody behind who asks for a server on ports that are another's by now.
WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


class Link:
    """link.clog() and so on: see proxy.Link."""

    def __init__(self, network, name):
        self.network = network
        self.name = name
        self.port = network.call(name, "listen")

    def __getattr__(self, act):
        if act not in ACTS:
            raise AttributeError(act)
        return lambda *args: self.network.call(self.name, act, *args)


class Network:
    """Some links; to be closed.  Any thread."""

    def __init__(self):
        self.links = {}
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [*WITH_US, sys.executable, "-m", "chaos.proxy"],
            cwd=ROOT / "tests", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def call(self, name, act, *args):
        with self.lock:
            self.process.stdin.write(json.dumps([name, act, args]) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        assert answer, f"the proxies are gone: {name} {act} {args}"
        return json.loads(answer)

    def link(self, name):
        if name not in self.links:
            self.links[name] = Link(self, name)
        return self.links[name]

    def heal(self):
        for link in self.links.values():
            link.heal()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


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
