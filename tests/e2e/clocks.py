"""Wall clocks that a test sets while the processes run: one for each process, by the layer tests/preload/wall_clock.c."""
import mmap
import os
import struct
import subprocess
import time

from fleet import BUILD


class Clocks:
    """Give each process of a fleet that has not started yet a clock of its own; set(name, ms) moves it."""

    def __init__(self, fleet, names=None):
        library = os.path.join(BUILD, "preload", "wall_clock.so")
        if not os.path.exists(library):  # the loader would go on without it, and nothing would ever jump
            raise AssertionError("%s is not there: make test builds it" % library)
        self.pages = {}
        for name in names or list(fleet.processes):
            path = os.path.join(fleet.folder, "clock-" + name)
            with open(path, "w+b") as file:
                file.write(bytes(8))
                file.flush()
                self.pages[name] = mmap.mmap(file.fileno(), 8)
            process = fleet[name]
            self.check(library, path, name)
            process.env = {**os.environ, **(process.env or {}), "LD_PRELOAD": library, "WALL_CLOCK": path}

    def set(self, name, ms):
        self.pages[name][:8] = struct.pack("<q", ms)

    def check(self, library, path, name):
        """A layer that moves nothing would let every test pass."""
        self.set(name, -7200000)
        env = {**os.environ, "LD_PRELOAD": library, "WALL_CLOCK": path}
        seen = int(subprocess.run(["date", "+%s"], env=env, stdout=subprocess.PIPE, check=True, timeout=20).stdout)
        self.set(name, 0)
        if not -7260 < seen - time.time() < -7140:
            raise AssertionError("the clock of %s did not move" % name)
