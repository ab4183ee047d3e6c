"""Fetches Milvus 2.3.5 from PyPI into a directory: `install.py DIRECTORY`.

Promises: afterwards DIRECTORY has `bin/milvus`, `lib/` with the libraries that it is linked to and `glog.conf`, which is all
that bench.py needs. Left out on purpose: any other release. The package `milvus` carries the program that Milvus' own images
carry, compressed file by file, for x86-64 Linux.
"""

import lzma
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "milvus==2.3.5"
PROGRAM = "milvus/data/bin/milvus.lzma"


def main(directory):
    for name in ("bin", "lib"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as wheels:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, PACKAGE]
        subprocess.run(pip, check=True)
        (wheel,) = Path(wheels).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            unpack(archive, directory)
    print(f"Milvus is in {directory}")


def unpack(archive, directory):
    for entry in archive.namelist():
        if entry.endswith("/glog.conf"):
            (directory / "glog.conf").write_bytes(archive.read(entry))
        elif entry.endswith(".lzma"):
            to = directory / ("bin" if entry == PROGRAM else "lib") / Path(entry).name.removesuffix(".lzma")
            with archive.open(entry) as packed, lzma.open(packed) as plain, to.open("wb") as out:
                shutil.copyfileobj(plain, out)
            to.chmod(0o755)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    main(Path(sys.argv[1]))
