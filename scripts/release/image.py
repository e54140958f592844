"""Packs the module into an OCI image without a base, as Istio, Envoy Gateway and Kubernetes' image volumes load it.

Usage: image.py MODULE VERSION COMMIT OUTPUT.tar

The image has one layer with one file, /plugin.wasm. The same input gives the same bytes: no times, no names of users.
"""

import gzip
import hashlib
import io
import json
import pathlib
import sys
import tarfile


PROCESSORS = ["amd64", "arm64"]


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(kind: str, data: bytes) -> dict:
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}


def image(module: bytes, version: str, commit: str) -> bytes:
    layer = tar({"plugin.wasm": module})
    packed = gzip.compress(layer, mtime=0)
    labels = {
        "org.opencontainers.image.title": "llm-failsafe",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    blobs = [packed]

    def add(kind: str, content: dict) -> dict:
        data = json.dumps(content, sort_keys=True).encode()
        blobs.append(data)
        return descriptor(kind, data)

    # The module runs on every processor, but container engines look for an image of theirs. All share one layer.
    manifests = []
    for processor in PROCESSORS:
        config = add("application/vnd.oci.image.config.v1+json", {
            "architecture": processor,
            "os": "linux",
            "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
            "history": [{"comment": "llm-failsafe " + version}],
        })
        manifest = add("application/vnd.oci.image.manifest.v1+json", {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
            "annotations": labels,
        })
        manifests.append(manifest | {"platform": {"architecture": processor, "os": "linux"}})
    index = add("application/vnd.oci.image.index.v1+json", {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
        "annotations": labels,
    })
    index["annotations"] = {"org.opencontainers.image.ref.name": version}
    files = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [index]}, sort_keys=True).encode(),
    }
    files |= {"blobs/sha256/" + digest(blob).removeprefix("sha256:"): blob for blob in blobs}
    return tar(files)


def main() -> None:
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    module, version, commit, output = sys.argv[1:]
    pathlib.Path(output).write_bytes(image(pathlib.Path(module).read_bytes(), version, commit))


if __name__ == "__main__":
    main()
