"""core_wheel: this project as a wheel, as it is installed here: what a device needs of it beside the library of a format."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from email.message import Message
from importlib import metadata
from pathlib import Path

PACKAGES = ("toolchain", "runtimes", "device_benchmarks")
DATA = ("runtimes/operators/*spmm.*",)  # compiled on the device, where a file asks for it
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same modules give the same bytes
_WHEEL = "Wheel-Version: 1.0\nGenerator: pocketgnn {version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def core_wheel() -> tuple[str, bytes]:
    """The name and the bytes of a wheel with the modules of this project.

    It is made of the installed packages themselves, so that the device runs what this machine runs, whether they are a checkout or
    came from a wheel; the `wheel` package has no interface for programs. Requires-Python is left out: of the modules only those
    that a run needs are imported there, and these take older Pythons than the rest.

    Source: packaging.python.org, "Binary distribution format".
    """
    root, version = Path(__file__).parent.parent, metadata.version("pocketgnn")
    paths = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    paths += [path for pattern in DATA for path in root.glob(pattern)]
    contents = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths)}
    folder = f"pocketgnn-{version}.dist-info"
    contents |= {f"{folder}/METADATA": _metadata(version), f"{folder}/WHEEL": _WHEEL.format(version=version).encode()}
    record = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in contents.items()]
    contents[f"{folder}/RECORD"] = "".join([*record, f"{folder}/RECORD,,\n"]).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return f"pocketgnn-{version}-py3-none-any.whl", stream.getvalue()


def _metadata(version: str) -> bytes:
    """METADATA, with what the modules need themselves."""
    fields = Message()
    for key, value in (("Metadata-Version", "2.1"), ("Name", "pocketgnn"), ("Version", version)):
        fields[key] = value
    for requirement in metadata.requires("pocketgnn") or []:
        if "extra ==" not in requirement:
            fields["Requires-Dist"] = requirement
    return fields.as_bytes()


def _digest(data: bytes) -> str:
    """As RECORD has it: base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
