"""Renders manifests, validates each object strictly against the schemas, and prints the objects as JSON.

    check.py kustomize FOLDER KUBERNETES_VERSION…
    check.py helm CHART RELEASE VALUES KUBERNETES_VERSION…      (VALUES is JSON)

It needs no cluster and no network. The exit code is 1 if an object is not valid; then the reasons are on standard error.
"""

import json
import pathlib
import subprocess
import sys

import jsonschema
import kubernetes_validate
import pydantic
import yaml

OPERATOR = "monitoring.coreos.com/v1"
# Schemas of these objects come with Istio. `make test-mesh` asks istioctl.
OF_ISTIO = "networking.istio.io/"
# The lowest severity of a message of Helm's linter that matters: a warning.
WARNING = 2


def kustomize(folder):
    kubectl = pathlib.Path(sys.executable).with_name("kubectl")
    built = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    if built.returncode != 0 or built.stderr:
        sys.exit(f"{folder}: {built.stderr}")
    return [built.stdout]


def helm(chart, release, values):
    import helm_python

    try:
        report = helm_python.lint(chart, values, strict=True)
        problems = [f"{it['path']}: {it['error']}" for it in report["messages"] if it["severity"] >= WARNING]
        if problems or report["errors"]:
            sys.exit(f"{chart}: {problems} {report['errors']}")
        with helm_python.Chart.load(chart) as loaded:
            return list(loaded.render(values, name=release, namespace="llm").values())
    except helm_python.HelmError as error:
        sys.exit(f"{chart}: {error}")


def without_patterns(part):
    """A part of a schema without regular expressions, which are Go's and not Python's."""
    if isinstance(part, dict):
        return {name: without_patterns(it) for name, it in part.items() if not (name == "pattern" and isinstance(it, str))}
    return [without_patterns(it) for it in part] if isinstance(part, list) else part


def validate_for_operator(thing):
    """Reads an object as the Prometheus operator does, but without room for unknown fields."""
    from cloudcoil.models.prometheus_operator import v1

    model = getattr(v1, thing["kind"])
    model.model_validate(thing)
    schema = without_patterns(model.model_json_schema(by_alias=True))
    for part in [schema, *schema["$defs"].values()]:
        if "properties" in part:
            part["additionalProperties"] = False
    jsonschema.validate(thing, schema)


def problem(thing, versions):
    """What is wrong with an object, or nothing."""
    if thing["apiVersion"].startswith(OF_ISTIO):
        return None
    try:
        if thing["apiVersion"] == OPERATOR:
            validate_for_operator(thing)
        else:
            for version in versions:
                kubernetes_validate.validate(thing, version, strict=True)
    except pydantic.ValidationError as error:
        return f"{thing['kind']}: {error}"
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
        return f"{thing['kind']}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message


def main(tool, *arguments):
    if tool == "kustomize":
        folder, *versions = arguments
        texts = kustomize(folder)
    else:
        chart, release, values, *versions = arguments
        texts = helm(chart, release, json.loads(values))
    things = [thing for text in texts for thing in yaml.safe_load_all(text) if thing is not None]
    problems = [it for it in (problem(thing, versions) for thing in things) if it]
    if problems:
        sys.exit("\n".join(problems))
    print(json.dumps(things))


main(*sys.argv[1:])
