"""Lists what the module is made of: a software bill of materials (SBOM) in CycloneDX's JSON.

Usage: cargo metadata … | parts.py MODULE VERSION COMMIT EPOCH TOOL=VERSION… > llm_failsafe-VERSION.cdx.json

Standard input is the output of `cargo metadata --filter-platform wasm32-wasip1`. Crates that only build scripts, macros
or tests use are left out. The file is checked against CycloneDX's schema. The same input gives the same bytes.
"""

import datetime
import hashlib
import json
import pathlib
import sys
import tomllib
import uuid

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT_CRATE = "llm-failsafe"


def linked(metadata: dict) -> dict[str, list[str]]:
    """The crates that are linked into the module, by id, each with those that it uses itself."""
    macros = {
        package["id"] for package in metadata["packages"]
        if any("proc-macro" in target["kind"] for target in package["targets"])
    }
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (root,) = (package["id"] for package in metadata["packages"] if package["name"] == ROOT_CRATE)
    found: dict[str, list[str]] = {}
    open_ids = [root]
    while open_ids:
        crate = open_ids.pop()
        if crate in found:
            continue
        found[crate] = [
            needed["pkg"] for needed in nodes[crate]["deps"]
            if needed["pkg"] not in macros and any(kind["kind"] is None for kind in needed["dep_kinds"])
        ]
        open_ids += found[crate]
    return found


def checksums() -> dict[tuple[str, str], str]:
    lock = tomllib.loads(pathlib.Path("Cargo.lock").read_text())
    return {(it["name"], it["version"]): it["checksum"] for it in lock["package"] if "checksum" in it}


def component(package: dict, sums: dict) -> Component:
    name, version = package["name"], package["version"]
    checksum = sums.get((name, version))
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=f"{name}@{version}",
        purl=PackageURL("cargo", None, name, version) if checksum else None,
        licenses=[LicenseFactory().make_from_string(package["license"])],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
    )


def main() -> None:
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    module, version, commit, epoch, *tools = sys.argv[1:]
    metadata = json.load(sys.stdin)
    packages = {package["id"]: package for package in metadata["packages"]}
    crates, sums = linked(metadata), checksums()
    bytes_ = pathlib.Path(module).read_bytes()
    sha256 = hashlib.sha256(bytes_).hexdigest()
    bom = Bom()
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{ROOT_CRATE}@{version} {sha256}")
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
    whole = Component(
        type=ComponentType.APPLICATION,
        name="llm_failsafe.wasm",
        version=version,
        bom_ref="llm_failsafe.wasm",
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        properties=[Property(name="commit", value=commit)]
        + [Property(name="built-with:" + tool.split("=")[0], value=tool.split("=", 1)[1]) for tool in tools],
    )
    bom.metadata.component = whole
    components = {crate: component(packages[crate], sums) for crate in crates}
    for one in components.values():
        bom.components.add(one)
    root = next(crate for crate in crates if packages[crate]["name"] == ROOT_CRATE)
    bom.register_dependency(whole, [components[root]])
    for crate, needs in crates.items():
        bom.register_dependency(components[crate], [components[needed] for needed in needs])
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem:
        sys.exit(f"the list of parts does not follow its schema: {problem}")
    print(text)


if __name__ == "__main__":
    main()
