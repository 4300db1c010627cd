"""Wall clocks that a test sets while the processes run: one for each process, made from wall_clock.c."""
import mmap
import os
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


class Clocks:
    """Give each process of a fleet that has not started yet a clock of its own; set(name, ms) moves it."""

    def __init__(self, fleet, names=None):
        self.folder = fleet.folder
        self.library = os.path.join(self.folder, "wall_clock.so")
        subprocess.run([os.environ.get("CC", "gcc"), "-O2", "-shared", "-fPIC", "-o", self.library,
                        os.path.join(HERE, "wall_clock.c")], check=True)
        self.pages = {}
        for name in names or list(fleet.processes):
            path = os.path.join(self.folder, "clock-" + name)
            with open(path, "w+b") as file:
                file.write(bytes(8))
                file.flush()
                self.pages[name] = mmap.mmap(file.fileno(), 8)
            process = fleet[name]
            process.env = {**os.environ, **(process.env or {}), "LD_PRELOAD": self.library, "WALL_CLOCK": path}

    def set(self, name, ms):
        self.pages[name][:8] = struct.pack("<q", ms)
