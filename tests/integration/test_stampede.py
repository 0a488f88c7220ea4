"""The load generator itself: an open-loop storm with a clean ledger and a page that can be read, and a
door that lies once."""

import json
import re
import socket
import subprocess
import threading
import xml.etree.ElementTree as ElementTree

import pytest
from lib.stack import BIN, BUILD

VERIFY = f"--verify={BIN}/seckill-guardian verify --json"


def stampede(system, *words):
    return subprocess.run(
        [BIN / "stampede", *words], env=system.stack.environ(**system.settings), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )


def test_open_loop_storm_ends_with_a_clean_ledger(system):
    item = system.open(stock=60, limit=1, hold_ms=700)
    report, page = BUILD / "stampede.json", BUILD / "stampede.html"
    done = stampede(
        system, f"--item={item}", "--arrivals=spike", "--rate=300/s", "--duration=3s", "--connections=100",
        "--addresses=20", "--think-ms=300", "--returns=1", "--step=200ms", "--settle-ms=1500", VERIFY,
        f"--report={report}", f"--html={page}",
    )
    assert done.returncode == 0, done.stdout
    said = json.loads(report.read_text())
    assert said["ok"] and said["inconsistent_answers"] == 0 and said["unexpected"] == 0
    assert said["shoppers"] == said["arrived"] == sum(said["series"]["arrived"]) == sum(said["ends"].values())
    assert 250 <= said["shoppers"] <= 254  # 300/s for 0.6 s, 30/s for 2.4 s
    assert said["ends"]["unserved"] == 0
    assert said["paid"] > 0 and said["latency_ms"]["decided"]["count"] == said["decided"]
    assert said["connections"] <= 100
    assert max(v or 0 for v in said["series"]["cpu_cores"]["producer"]) > 0
    sold = [v for v in said["series"]["sold"] if v is not None]
    assert sold == sorted(sold) and 0 < sold[-1] <= said["paid"]
    check_page(page.read_text(), item)


def check_page(text, item):
    """Well-formed, whole, and in need of nothing from elsewhere."""
    tree = ElementTree.fromstring(re.sub(r"(?s)<!DOCTYPE html>|<script>.*?</script>", "", text))
    plots = list(tree.iter("{http://www.w3.org/2000/svg}svg"))
    assert len(plots) == 8
    for plot in plots:
        lines = plot.attrib["data-values"].split(";")
        assert len(lines) == len(plot.attrib["data-names"].split(","))
        assert len({line.count(",") for line in lines}) == 1
        for path in plot.iter("{http://www.w3.org/2000/svg}path"):
            assert re.fullmatch(r"([MLZh.0-9 -])*", path.attrib["d"]), path.attrib["d"]
    assert item in "".join(tree.find(".//h1").itertext())
    assert "Every unit is accounted for" in text
    assert not re.search(r"(src|href)=|@import|url\(", text)
    assert set(re.findall(r"https?://[^\s\"<]+", text)) - {"http://www.w3.org/2000/svg"} <= set(
        re.findall(r"http://127\.0\.0\.1:\d+", text))


class LyingDoor:
    """A proxy that passes everything on, but for one answer: reserved becomes rejected."""

    def __init__(self, url):
        host, port = url.removeprefix("http://").split(":")
        self.door = (host, int(port))
        self.lies = 1
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                shopper, _ = self.listener.accept()
            except OSError:
                return
            door = socket.create_connection(self.door)
            threading.Thread(target=self.carry, args=(shopper, door, False), daemon=True).start()
            threading.Thread(target=self.carry, args=(door, shopper, True), daemon=True).start()

    def carry(self, source, target, lies):
        try:
            while data := source.recv(65536):
                if lies:
                    with self.lock:
                        if self.lies > 0 and b'"state":"reserved"' in data:
                            self.lies -= 1
                            data = data.replace(b'"state":"reserved"', b'"state":"rejected"', 1)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def liar(system):
    door = LyingDoor(system.url)
    yield door
    door.listener.close()


def test_a_door_that_lies_once_is_noticed(system, liar):
    item = system.open(stock=20, limit=1, hold_ms=500)
    report = BUILD / "stampede-lie.json"
    done = stampede(
        system, f"--url={liar.url}", f"--item={item}", "--shoppers=20", "--spread-ms=500", "--connections=10",
        "--double-press=0", "--retry=0", "--come-back=0", "--think-ms=0", "--settle-ms=1500", VERIFY,
        f"--report={report}",
    )
    assert liar.lies == 0
    assert done.returncode == 1, done.stdout
    said = json.loads(report.read_text())
    assert not said["ok"] and said["inconsistent_answers"] == 1
    assert "told rejected" in said["first_inconsistent"]
    assert said["proof"]["ok"] and said["oversold"] == 0  # the log, Redis and MySQL did not lie
