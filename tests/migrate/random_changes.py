#!/usr/bin/env python3
"""Random changes to random databases, run by stint-migrate and by a model that knows nothing of its code.

A case is a database made from a random model, and a script of ALTER TABLE actions. The model carries out the same change on itself;
from the changed model a second database is written directly, with plain CREATE and INSERT. Then both are compared: schema, rows,
rowids, and what the same INSERT, UPDATE and DELETE do to them. What the model holds for impossible must be refused and leave the
database as it was. What neither SQLite's documentation nor the engine's decides is not generated, or either answer will do.

Case K of seed S is always the same: --seed S --only K runs it alone. --self checks this program without the engine: each expected
database against the same one created in another order, each expected refusal against what SQLite itself says.
The last line is 'N passed, N failed'; exit status 1 when anything failed or nothing ran."""
import argparse
import collections
import contextlib
import functools
import os
import pickle
import random
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENGINE = "build/stint-migrate run --db {db} {sql}"
SEED = 20240607

# ---- SQL text: tokens, and a normal form of CREATE statements ------------------------------------------------------------------

TOKEN = re.compile(r"""(?P<gap>\s+|--[^\n]*|/\*.*?\*/)|(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])|(?P<text>'(?:[^']|'')*')
    |(?P<blob>[xX]'[0-9a-fA-F]*')|(?P<word>[A-Za-z_\u0080-\U0010ffff][\w$]*)|(?P<number>[0-9][0-9a-zA-Z.]*)|(?P<sign>.)""", re.X | re.S)
ASCII_LOWER = str.maketrans({c: c.lower() for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"})
CLAUSES = {"constraint", "primary", "not", "null", "unique", "check", "default", "collate", "references", "generated", "as", "foreign"}


def fold(name):
    """SQLite compares names without regard to case, in ASCII only."""
    return name.translate(ASCII_LOWER)


class Token(NamedTuple):
    text: str
    bare: bool          # a word that may be a keyword


def lex(sql):
    found = []
    for match in TOKEN.finditer(sql):
        kind, text = match.lastgroup, match.group()
        if kind == "name":
            inner = text[1:-1] if text[0] == "[" else text[1:-1].replace(text[0] * 2, text[0])
            found.append(Token(fold(inner), False))
        elif kind != "gap":
            found.append(Token(text if kind == "text" else fold(text), kind == "word"))
    return found


def plain_tokens(sql):
    return tuple(token.text for token in lex(sql))


class Reader:
    """Walks over the tokens of one column definition or table constraint."""

    def __init__(self, tokens):
        self.tokens, self.at = tokens, 0

    def word(self):
        token = self.tokens[self.at] if self.at < len(self.tokens) else Token("", False)
        return token.text if token.bare or not token.text.isidentifier() else "\"" + token.text

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1].text

    def took(self, *words):
        for step, word in enumerate(words):
            if self.at + step >= len(self.tokens) or self.tokens[self.at + step].text != word:
                return False
        self.at += len(words)
        return True

    def group(self):
        """The tokens within the parentheses that open here."""
        depth, start = 0, self.at + 1
        while True:
            text = self.take()
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return [token.text for token in self.tokens[start:self.at - 1]]

    def rest_of_reference(self):
        parent, columns, actions = self.take(), None, {"delete": "no action", "update": "no action"}
        if self.word() == "(":
            columns = tuple(self.group())
        defer = "immediate"
        while True:
            if self.took("on"):
                event = self.take()
                first = self.take()
                actions[event] = first if first in ("cascade", "restrict") else first + " " + self.take()
            elif self.took("not", "deferrable") or self.took("deferrable"):
                deferrable = self.tokens[self.at - 2].text != "not"
                if self.took("initially", "deferred"):
                    defer = "deferred" if deferrable else "immediate"
                else:
                    self.took("initially", "immediate")
            else:
                return parent, columns, actions["delete"], actions["update"], defer


def split_items(tokens):
    """The items of a CREATE TABLE body: cut at top-level commas, and where a table constraint begins without one."""
    items, depth = [[]], 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text == ",":
            items.append([])
        else:
            items[-1].append(token)
    return items


def strip_parentheses(words):
    words = list(words)
    while words[:1] == ["("] and words[-1:] == [")"]:
        depth = 0
        for at, word in enumerate(words):
            depth += (word == "(") - (word == ")")
            if depth == 0 and at < len(words) - 1:
                return tuple(words)
        words = words[1:-1]
    return tuple(words)


def read_clauses(reader, home, facts):
    """Reads constraint clauses to the end of the item; what can also be a table constraint is noted as one."""
    name, column = None, {}

    def conflict():
        return reader.take() if reader.took("on", "conflict") else None

    while reader.at < len(reader.tokens):
        if reader.took("constraint"):
            name = reader.take()
            continue
        if reader.took("primary", "key"):
            words = reader.group() if reader.word() == "(" else [home]
            inline_desc = reader.took("desc")
            reader.took("asc")
            clause = conflict()
            auto = reader.took("autoincrement") or "autoincrement" in words[1:]
            facts["primary key", name, tuple(w for w in words if w != "autoincrement"), inline_desc, clause, auto] += 1
        elif reader.took("unique"):
            words = tuple(reader.group()) if reader.word() == "(" else (home,)
            facts["unique", name, words, conflict()] += 1
        elif reader.took("check"):
            facts["check", name, tuple(reader.group()), conflict()] += 1
        elif reader.took("foreign", "key"):
            columns = tuple(reader.group())
            reader.took("references")
            facts[("foreign key", name, columns) + reader.rest_of_reference()] += 1
        elif reader.took("references"):
            facts[("foreign key", name, (home,)) + reader.rest_of_reference()] += 1
        elif reader.took("not", "null"):
            column["not null"] = (name, conflict())
        elif reader.took("collate"):
            column["collate"] = reader.take()
        elif reader.took("default"):
            words = reader.group() if reader.word() == "(" else [reader.take()]
            if words in (["-"], ["+"]):
                words.append(reader.take())
            column["default"] = strip_parentheses(words)
        elif reader.took("generated", "always", "as") or reader.took("as"):
            words = reader.group()
            column["generated"] = (tuple(words), "stored" if reader.took("stored") else "virtual")
            reader.took("virtual")
        else:
            facts["not understood", reader.take()] += 1
        name = None
    return column


def table_facts(sql):
    """(columns in order, constraints as a Counter, options): what a CREATE TABLE says, however it is written."""
    tokens = lex(sql)
    reader = Reader(tokens)
    while reader.word() != "(":
        reader.at += 1
    start = reader.at + 1
    reader.group()
    columns, facts = [], collections.Counter()
    for item in split_items(tokens[start:reader.at - 1]):
        part = Reader(item)
        if item and item[0].bare and item[0].text in CLAUSES - {"generated"}:
            read_clauses(part, None, facts)
            continue
        name, words = re.sub(r"\A'(.*)'\Z", lambda m: fold(m[1].replace("''", "'")), part.take()), []
        while part.at < len(item) and not (item[part.at].bare and item[part.at].text in CLAUSES):
            words.append(part.take())
        columns.append((name, " ".join(words), sorted(read_clauses(part, name, facts).items())))
    return columns, facts, sorted(token.text for token in tokens[reader.at:] if token.text != ",")


# ---- The model -----------------------------------------------------------------------------------------------------------------

class C(NamedTuple):
    """A column's name within an expression."""
    table: int
    column: int


class T(NamedTuple):
    """A table's or view's name within an expression."""
    table: int


@dataclass
class Column:
    id: int
    name: str
    type: str = ""
    collate: Optional[str] = None
    not_null: bool = False
    not_null_name: Optional[str] = None
    not_null_conflict: Optional[str] = None
    default: Optional[str] = None           # as SQL
    default_value: object = None            # what it stands for
    generated: Optional[list] = None
    stored: bool = False
    late: bool = False                      # added natively after the first rows: their records are short
    key_of: Optional[tuple] = None          # (table, column) whose values it takes, with or without a foreign key


@dataclass
class Constraint:
    id: int
    kind: str
    columns: list                           # (column id, collation or None, descending)
    name: Optional[str] = None
    inline: bool = False
    expr: Optional[list] = None
    conflict: Optional[str] = None
    auto: bool = False
    parent: Optional[int] = None
    parent_columns: Optional[list] = None
    on_delete: Optional[str] = None
    on_update: Optional[str] = None
    defer: Optional[str] = None
    text: str = ""                          # a CHECK's expression as the CREATE statement spells it

    def ids(self):
        return [column for column, _, _ in self.columns]

    def mentions(self):
        return set(self.ids()) | columns_in(self.expr or [])


@dataclass
class Table:
    id: int
    name: str
    kind: str
    strict: bool = False
    without_rowid: bool = False
    log: bool = False
    columns: list = field(default_factory=list)
    constraints: list = field(default_factory=list)
    rows: list = field(default_factory=list)    # [rowid or None, {column id: value}]
    sequence: Optional[int] = None

    def column(self, id):
        return next(column for column in self.columns if column.id == id)

    def writable(self):
        return [column for column in self.columns if column.generated is None]

    def primary_key(self):
        return next((one for one in self.constraints if one.kind == "primary key"), None)

    def key_ids(self):
        return self.primary_key().ids() if self.primary_key() else []

    def alias(self):
        """The column that is the rowid itself, if there is one."""
        key = self.primary_key()
        if key is None or self.without_rowid or len(key.columns) != 1 or (key.inline and key.columns[0][2]):
            return None
        column = self.column(key.columns[0][0])
        return column if fold(column.type) == "integer" else None

    def rowid_name(self):
        names = {fold(column.name) for column in self.columns}
        return None if self.without_rowid else next((n for n in ("rowid", "_rowid_", "oid") if n not in names), None)


@dataclass
class Index:
    id: int
    name: str
    table: int
    columns: list                           # (column id or expression, collation, descending)
    unique: bool = False
    where: Optional[list] = None

    def mentions(self):
        plain = {one for one, _, _ in self.columns if isinstance(one, int)}
        return plain.union(*(columns_in(one) for one, _, _ in self.columns if isinstance(one, list)), columns_in(self.where or []))


@dataclass
class View:
    id: int
    name: str
    body: list
    names: Optional[list] = None
    star: Optional[int] = None              # the table whose every column it shows
    key: Optional[str] = None               # the name of its first column

    def parts(self):
        return self.body


@dataclass
class Trigger:
    id: int
    name: str
    on: int
    moment: str
    of: list
    when: Optional[list]
    body: list

    def parts(self):
        return [T(self.on)] + [C(self.on, one) for one in self.of] + (self.when or []) + self.body


@dataclass
class Model:
    tables: dict = field(default_factory=dict)
    indexes: dict = field(default_factory=dict)
    views: dict = field(default_factory=dict)
    triggers: dict = field(default_factory=dict)
    pragmas: dict = field(default_factory=dict)
    actions: list = field(default_factory=list)     # foreign key actions that this database uses
    markers: list = field(default_factory=list)     # (comment, object id, part id)
    last_id: int = 0

    def new_id(self):
        self.last_id += 1
        return self.last_id

    def named(self, id):
        return self.tables.get(id) or self.views[id]

    def names(self):
        objects = [*self.tables.values(), *self.views.values(), *self.indexes.values(), *self.triggers.values()]
        return {fold(one.name) for one in objects}

    def clone(self):
        return pickle.loads(pickle.dumps(self))

    def foreign_keys(self):
        return [(table, one) for table in self.tables.values() for one in table.constraints if one.kind == "foreign key"]

    def keys(self, table):
        """Lists of columns that a foreign key may refer to: unique without condition, and under the columns' own collations."""
        candidates = [one.columns for one in table.constraints if one.kind in ("primary key", "unique")]
        candidates += [one.columns for one in self.indexes.values() if one.table == table.id and one.unique and one.where is None]
        return [[id for id, _, _ in columns] for columns in candidates
                if all(isinstance(id, int) and (collation is None or collation == (table.column(id).collate or "BINARY"))
                       for id, collation, _ in columns)]

    def broken_foreign_key(self):
        """Whether a foreign key's parent columns are not unique (any more)."""
        for _, key in self.foreign_keys():
            parent = self.tables[key.parent]
            wanted = key.parent_columns or parent.key_ids()
            if len(wanted) != len(key.columns) or not any(set(wanted) == set(one) for one in self.keys(parent)):
                return True
        return False

    def uses_of(self, table, column):
        """Why the column cannot be dropped: words for those that need it; 'debatable ...' where nobody says whether they do."""
        why = []
        why += ["index" for one in self.indexes.values() if one.table == table.id and column.id in one.mentions()]
        why += ["view" for one in self.views.values() if C(table.id, column.id) in one.parts()]
        why += ["trigger" for one in self.triggers.values() if C(table.id, column.id) in one.parts()]
        why += ["generated column" for one in table.columns if one.generated and column.id in columns_in(one.generated)]
        why += ["debatable star" for one in self.views.values() if one.star == table.id]
        for one in table.constraints:
            if column.id in one.mentions() and one.mentions() != {column.id}:
                why.append("debatable inline check" if one.inline and one.ids() == [column.id] else one.kind)
            elif one.kind == "primary key" and one.mentions() == {column.id}:
                why.append("primary key" if table.without_rowid else "debatable key")
        for child, one in self.foreign_keys():
            if one.parent == table.id and column.id in (one.parent_columns or table.key_ids()):
                why.append("debatable self" if child is table and one.ids() == [column.id] else "parent of a foreign key")
        return why


def columns_in(parts):
    return {part.column for part in parts if isinstance(part, C)}


# ---- Writing SQL ---------------------------------------------------------------------------------------------------------------

BARE = re.compile(r"[A-Za-z_\u0080-\uffff][\w$]*\Z")
KEYWORDS = set("""abort action add after all alter always analyze and as asc attach autoincrement before begin between by cascade case
    cast check collate column commit conflict constraint create cross current current_date current_time current_timestamp database
    default deferrable deferred delete desc detach distinct do drop each else end escape except exclude exclusive exists explain fail
    filter first following for foreign from full generated glob group groups having if ignore immediate in index indexed initially
    inner insert instead intersect into is isnull join key last left like limit match materialized natural no not nothing notnull null
    nulls of offset on or order others outer over partition plan pragma preceding primary query raise range recursive references regexp
    reindex release rename replace restrict returning right rollback row rows savepoint select set table temp temporary then ties to
    transaction trigger unbounded union unique update using vacuum values view virtual when where window with without type rebuild
    true false""".split())
BARE_IN_CREATE = {"key", "desc", "type", "first", "after", "column"}    # keywords that SQLite takes for names


class Plain:
    """How the expected database is written: one way for everything."""
    comma = ", "

    def name(self, name):
        return '"' + name.replace('"', '""') + '"'

    ref = column = name

    def word(self, word):
        return word

    def weave(self, chunks, *owner):
        return " ".join(chunks)

    def mixed(self, chunks):
        return chunks

    def between_constraints(self):
        return ", "


class Wild(Plain):
    """How people write: several ways of quoting, odd white space, comments in the middle (noted in the model's markers)."""

    def __init__(self, rng, model=None):
        self.rng, self.model, self.gaps = rng, model, rng.choice((0.05, 0.3))

    @property
    def comma(self):
        return self.rng.choice((", ", ",", " , ", ",\n    ", ", -- it's a (comment,\n  "))

    def name(self, name):
        ways = [Plain.name(self, name), "`" + name.replace("`", "``") + "`"]
        if "]" not in name:
            ways.append("[" + name + "]")
        if BARE.match(name) and (fold(name) not in KEYWORDS or (self.model and fold(name) in BARE_IN_CREATE)):
            ways += [name] * 5
        return self.rng.choice(ways)

    def column(self, name):
        return "'" + name.replace("'", "''") + "'" if self.model and self.rng.random() < 0.02 else self.name(name)

    def ref(self, name):
        if self.rng.random() < 0.06:
            name = "".join(c.swapcase() if c.isascii() else c for c in name)
        return self.name(name)

    def word(self, word):
        return word.lower() if self.rng.random() < 0.25 else word

    def gap(self, owner):
        if self.rng.random() > self.gaps:
            return " "
        if self.rng.random() < 0.5 or self.model is None:
            return self.rng.choice(("  ", "\n", "\t", "\n\t  ", " /* ' */ ", " -- )\n"))
        self.model.markers.append((f"keep{len(self.model.markers)} , ( \" ` CHECK", *owner))
        comment = self.model.markers[-1][0]
        return self.rng.choice((f"/* {comment} */", f" -- {comment}\n", f"\n/* {comment}\n*/ "))

    def weave(self, chunks, *owner):
        text = chunks[0]
        for chunk in chunks[1:]:
            text += self.gap(owner) + chunk
        return text

    def mixed(self, chunks):
        self.rng.shuffle(chunks)
        return chunks

    def between_constraints(self):
        return "\n" if self.rng.random() < 0.15 else self.comma


PLAIN = Plain()


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return "x'" + value.hex() + "'"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def expression(model, parts, style=PLAIN):
    text = ""
    for part in parts:
        if isinstance(part, C):
            text += style.ref(model.tables[part.table].column(part.column).name)
        else:
            text += style.ref(model.named(part.table).name) if isinstance(part, T) else part
    return text


def column_list(table, columns, style):
    texts = []
    for id, collation, descending in columns:
        text = style.ref(table.column(id).name)
        texts.append(text + (f" COLLATE {collation}" if collation else "") + (" DESC" if descending else ""))
    return "(" + style.comma.join(texts) + ")"


def conflict_chunk(clause):
    return [f"ON CONFLICT {clause}"] if clause else []


def reference_chunks(model, one, style):
    parent = model.tables[one.parent]
    chunks = [style.word("REFERENCES"), style.ref(parent.name)]
    if one.parent_columns:
        chunks.append(column_list(parent, [(id, None, False) for id in one.parent_columns], style))
    chunks += [f"ON DELETE {one.on_delete}"] if one.on_delete else []
    chunks += [f"ON UPDATE {one.on_update}"] if one.on_update else []
    return chunks + ([one.defer] if one.defer else [])


def constraint_chunks(model, table, one, style):
    chunks = [style.word("CONSTRAINT"), style.name(one.name)] if one.name else []
    columns = [] if one.inline or one.kind == "check" else [column_list(table, one.columns, style)]
    if one.kind == "primary key":
        if one.auto and not one.inline:
            columns[0] = columns[0][:-1] + " AUTOINCREMENT)"
        chunks += [style.word("PRIMARY KEY")] + columns + (["DESC"] if one.inline and one.columns[0][2] else [])
        return chunks + conflict_chunk(one.conflict) + (["AUTOINCREMENT"] if one.auto and one.inline else [])
    if one.kind == "unique":
        return chunks + [style.word("UNIQUE")] + columns + conflict_chunk(one.conflict)
    if one.kind == "check":
        one.text = expression(model, one.expr, style)
        return chunks + [style.word("CHECK"), "(" + one.text + ")"]
    return chunks + ([] if one.inline else [style.word("FOREIGN KEY")] + columns) + reference_chunks(model, one, style)


def column_chunks(model, table, column, style):
    clauses = []
    if column.not_null:
        head = [style.word("CONSTRAINT"), style.name(column.not_null_name)] if column.not_null_name else []
        clauses.append(head + [style.word("NOT NULL")] + conflict_chunk(column.not_null_conflict))
    if column.default is not None:
        clauses.append([style.word("DEFAULT"), column.default])
    if column.collate:
        clauses.append(["COLLATE", style.word(column.collate)])
    if column.generated:
        text = "(" + expression(model, column.generated, style) + ")"
        clauses.append([style.word("GENERATED ALWAYS AS"), text] + (["STORED"] if column.stored else []))
    clauses += [constraint_chunks(model, table, one, style) for one in table.constraints if one.inline and one.ids() == [column.id]]
    chunks = [chunk for clause in style.mixed(clauses) for chunk in clause]
    if column.type and chunks and chunks[0].upper().startswith("GENERATED"):
        chunks[0] = column.type + " " + chunks[0]       # with a comment between, SQLite takes the comment for a part of the type
    elif column.type:
        chunks.insert(0, column.type)
    return [style.column(column.name)] + chunks


def create_table(model, table, style, columns=None):
    items = style.comma.join(style.weave(column_chunks(model, table, one, style), table.id, one.id)
                             for one in columns or table.columns)
    separator = style.comma
    for one in table.constraints:
        if not one.inline:
            items += separator + style.weave(constraint_chunks(model, table, one, style), table.id, one.id)
            separator = style.between_constraints()
    options = (["WITHOUT ROWID"] if table.without_rowid else []) + (["STRICT"] if table.strict else [])
    return f"CREATE TABLE {style.name(table.name)} ({items})" + " " * bool(options) + style.comma.join(options)


def create_index(model, index, style):
    table = model.tables[index.table]
    texts = []
    for one, collation, descending in index.columns:
        text = expression(model, one, style) if isinstance(one, list) else style.ref(table.column(one).name)
        texts.append(text + (f" COLLATE {collation}" if collation else "") + (" DESC" if descending else ""))
    chunks = ["CREATE UNIQUE INDEX" if index.unique else "CREATE INDEX", style.name(index.name), "ON", style.ref(table.name),
              "(" + style.comma.join(texts) + ")"]
    return style.weave(chunks + (["WHERE", expression(model, index.where, style)] if index.where else []), index.id, index.id)


def create_view(model, view, style):
    names = ["(" + style.comma.join(style.name(one) for one in view.names) + ")"] if view.names else []
    return style.weave(["CREATE VIEW", style.name(view.name)] + names + ["AS", expression(model, view.body, style)], view.id, view.id)


def create_trigger(model, trigger, style):
    of = []
    if trigger.of:
        of = ["OF", style.comma.join(style.ref(model.tables[trigger.on].column(one).name) for one in trigger.of)]
    when = [style.word("WHEN"), expression(model, trigger.when, style)] if trigger.when else []
    chunks = ["CREATE TRIGGER", style.name(trigger.name), trigger.moment, *of, "ON", style.ref(model.named(trigger.on).name), *when,
              style.word("BEGIN"), expression(model, trigger.body, style) + ";", style.word("END")]
    return style.weave(chunks, trigger.id, trigger.id)


# ---- Values --------------------------------------------------------------------------------------------------------------------

INTEGERS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, -1, 100, 2 ** 31, -2 ** 40, 2 ** 53 + 1, 2 ** 62 + 1, 2 ** 63 - 1, -2 ** 63]
REALS = [0.5, 1.5, -2.25, 2.0, 7.0, 1e10, 1e100, 3.14159, 0.1, 123456.75]
TEXTS = ["", "a", "A", "b", "abc", "ABC", "x y", "it's", "5", "12", "1.5", "007", " 7", "1e3", "ü", "Ü", "日本", "NULL", "zz", '"q"', ")"]
BLOBS = [b"", b"\x00", b"abc", b"\xff\xfe", b"5"]
NUMERIC = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*\Z", re.A)
LOOSE_TYPES = ["", "INTEGER", "INTEGER", "INT", "BIGINT", "TEXT", "TEXT", "VARCHAR(20)", "CHARACTER VARYING", "REAL", "DOUBLE PRECISION",
               "FLOATING POINT", "NUMERIC", "DECIMAL(10,2)", "BLOB", "BOOLEAN", "STRING", "text", "Integer"]
STRICT_TYPES = ["INTEGER", "INT", "TEXT", "TEXT", "REAL", "BLOB", "ANY"]
DEFAULTS = [("5", 5), ("-3", -3), ("'x'", "x"), ("''", ""), ("NULL", None), ("1.5", 1.5), ("x'6162'", b"ab"), ("(1 + 2)", 3), ("TRUE", 1),
            ("(lower('ABC'))", "abc"), ("'it''s, (odd'", "it's, (odd"), ("'007'", "007"), ("(length('four'))", 4), ("2.0", 2.0)]


def affinity(type, strict):
    upper = type.upper()
    if strict and upper == "ANY":
        return "BLOB"
    if "INT" in upper:
        return "INTEGER"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in upper or not upper:
        return "BLOB"
    return "REAL" if any(word in upper for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def real_text(value):
    """SQLite's text of a real: %!.15g."""
    text = "%.15g" % value
    if "." not in text.split("e")[0]:
        text = text.replace("e", ".0e") if "e" in text else text + ".0"
    return text


def store(value, kind):
    """What a column of this affinity keeps of a value."""
    if value is None or isinstance(value, bytes) or kind == "BLOB":
        return value
    if kind == "TEXT":
        return value if isinstance(value, str) else str(value) if isinstance(value, int) else real_text(value)
    if isinstance(value, str):
        if not NUMERIC.match(value):
            return value
        whole = re.fullmatch(r"[+-]?\d+", value.strip())
        value = int(value) if whole and -2 ** 63 <= int(value) < 2 ** 63 else float(value)
    if kind == "REAL":
        return float(value)
    if isinstance(value, float) and abs(value) < 2 ** 63 and int(value) == value:
        return int(value)
    return value


def restored(value, old, new):
    """(value with the new affinity; 'kept', 'lost' or 'debatable') of a change of type without USING. It is kept when the old affinity
    would bring it back; lost when another number comes out. In between (' 7' becomes 7, 3 without affinity becomes '3') opinions differ."""
    after = store(value, new)
    back = store(after, old)
    if type(back) is type(value) and back == value:
        return after, "kept"
    return after, "lost" if isinstance(value, int) and isinstance(after, float) and int(after) != value else "debatable"


def fits(value, type):
    """Whether a STRICT column holds the value (as stored)."""
    wanted = {"INT": int, "INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}.get(type.upper())
    return value is None or wanted is None or isinstance(value, wanted)


def random_value(rng, column, strict):
    kind = affinity(column.type, strict)
    if not column.not_null and rng.random() < 0.18:
        return None
    if strict and column.type.upper() != "ANY":
        pool = {"INTEGER": INTEGERS, "REAL": REALS, "TEXT": TEXTS, "BLOB": BLOBS}[kind]
    elif rng.random() < 0.12 or kind == "BLOB":
        pool = rng.choice((INTEGERS, REALS, TEXTS, BLOBS))
    else:
        pool = {"INTEGER": INTEGERS, "REAL": REALS, "TEXT": TEXTS, "NUMERIC": INTEGERS + REALS}[kind]
    if rng.random() < 0.4:
        return fresh_value(rng, column, strict)
    return rng.choice(pool)


def fresh_value(rng, column, strict):
    """One that hardly occurs twice."""
    number = rng.randrange(20, 5000)
    kind = affinity(column.type, strict)
    if kind == "TEXT":
        return f"{rng.choice('kKü')}{number}"
    return {"REAL": number + 0.5, "BLOB": b"b%d" % number}.get(kind, number)


def random_default(rng, column, strict):
    return rng.choice([(text, value) for text, value in DEFAULTS
                       if (not strict or fits(store(value, affinity(column.type, True)), column.type))
                       and not (column.late and (text.startswith("(") or text == "TRUE"))])


# ---- Making a random database --------------------------------------------------------------------------------------------------

TABLE_NAMES = ["item", "orders", "Person", "t", "Kunde", "node", "parts", "order", "group", "select", "my table", 'we"ird', "Größe", "表",
               "a.b", "it's", "x-y", "table", "Index", "2nd", "UPPER", "semi;colon", "paren(", "com,ma", "check", "tick`s", "bra]cket"]
COLUMN_NAMES = ["a", "b", "c", "d", "id", "name", "Name2", "price", "qty", "state", "note", "ref", "code", "Value", "order", "group", "key",
                "desc", "type", "column", "constraint", "check", "default", "first", "after", "using", "add", "to", "my col", 'qu"ote',
                "ключ", "Ünï", "x-y", "1st", "o'k", "semi;", "par(en", "com,ma", "rowid", "oid", "_rowid_", "end", "unique", "tick`s",
                "bra]cket", "select", "primary", "generated", "old", "new"]
KINDS = {"rowid alias": 4, "autoincrement": 3, "composite key": 2, "without rowid": 3, "no key": 3, "int key": 1, "descending key": 1,
         "text key": 1}
ROW_COUNTS = [0, 1, 2, 3, 4, 6, 9, 14]
COLLATIONS = ["NOCASE", "RTRIM", "BINARY"]


def weighted(rng, weights):
    return rng.choices(list(weights), list(weights.values()))[0]


class Skip(Exception):
    """This cannot be made here; try another."""


class Maker:
    """Invents the model of a database; no rows yet."""

    def __init__(self, rng):
        self.rng, self.model = rng, Model()
        self.model.actions = rng.choice((["NO ACTION", "RESTRICT"], ["CASCADE", "CASCADE", "SET NULL", "SET DEFAULT", "NO ACTION"]))

    def chance(self, share):
        return self.rng.random() < share

    def constraint_name(self, share=0.4):
        id = self.model.new_id()
        return self.rng.choice((f"con{id}", f"Con {id}", f'k"{id}', f"check{id}")) if self.chance(share) else None

    def object_name(self, stem):
        id = self.model.new_id()
        return self.rng.choice((f"{stem}{id}", f"{stem}{id}", f"{stem.upper()} {id}", f'{stem}"{id}', f"{stem}-{id}ü"))

    def constraint(self, table, kind, columns, **more):
        one = Constraint(self.model.new_id(), kind, [(id, None, False) for id in columns], **more)
        table.constraints.append(one)
        return one

    def column(self, table, name, **more):
        type = self.rng.choice(STRICT_TYPES if table.strict else LOOSE_TYPES)
        one = Column(self.model.new_id(), name, **{"type": type, **more})
        table.columns.append(one)
        return one

    def add_key(self, table, names):
        rng, kind = self.rng, table.kind
        if kind == "no key":
            return
        if kind in ("rowid alias", "autoincrement", "descending key"):
            column = self.column(table, names.pop(), type="INTEGER")
            one = self.constraint(table, "primary key", [column.id], inline=True, auto=kind == "autoincrement", name=self.constraint_name(0.2))
            if kind == "descending key":
                one.columns = [(column.id, None, True)]
            elif self.chance(0.25):
                one.inline = False
                one.columns = [(column.id, None, not one.auto and self.chance(0.3))]
        else:
            type = {"int key": "INT", "text key": "TEXT"}.get(kind) or rng.choice(["INTEGER", "INT", "TEXT"])
            columns = [self.column(table, names.pop(), type=type) for _ in range(2 if kind == "composite key" or self.chance(0.2) else 1)]
            for column in columns:
                column.collate = rng.choice(COLLATIONS) if self.chance(0.15) else None
                column.not_null = self.chance(0.4)
            if len(columns) == 2:
                columns[1].type = rng.choice(["TEXT", "INTEGER"])
            one = self.constraint(table, "primary key", [column.id for column in columns], name=self.constraint_name(0.2))
            one.inline = len(columns) == 1 and self.chance(0.5)
            if not one.inline and len(columns) == 2:
                one.columns = [(id, None, self.chance(0.3)) for id in reversed(one.ids())]

    def add_traits(self, table, column):
        """Constraints and the rest of a column that is no key."""
        rng = self.rng
        others = [one for one in table.columns if one is not column and one.generated is None and not one.late and one.key_of is None]
        if others and self.chance(0.13) and not column.late:
            source = rng.choice(others)
            column.generated = generated_expression(rng, C(table.id, source.id), column, table.strict)
            column.stored = self.chance(0.5)
            return
        if self.chance(0.25) and affinity(column.type, table.strict) in ("TEXT", "BLOB"):
            column.collate = rng.choice(COLLATIONS)
        if self.chance(0.35) or column.late:
            column.default, column.default_value = random_default(rng, column, table.strict)
        if self.chance(0.25) and not (column.late and column.default_value is None):
            column.not_null = True
            column.not_null_name = self.constraint_name(0.1)
            if self.chance(0.15):
                column.not_null_conflict = rng.choice(("ABORT", "FAIL", "IGNORE", "REPLACE"))
        if self.chance(0.12) and not column.late:
            clause = rng.choice(("REPLACE", "IGNORE", "ROLLBACK", "FAIL")) if self.chance(0.15) else None
            self.constraint(table, "unique", [column.id], inline=self.chance(0.6), name=self.constraint_name(), conflict=clause)
        if self.chance(0.15):
            self.constraint(table, "check", [column.id], inline=True, name=self.constraint_name(),
                            expr=check_expression(rng, C(table.id, column.id)))

    def add_table_constraints(self, table):
        plain = [one for one in table.columns if not one.late]
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            picked = self.rng.sample(plain, min(len(plain), 2))
            ids = [one.id for one in picked]
            if self.chance(0.45):
                if not any(one.kind == "unique" and set(one.ids()) == set(ids) for one in table.constraints):
                    self.constraint(table, "unique", ids, name=self.constraint_name())
            else:
                refs = [C(table.id, id) for id in (ids if self.chance(0.6) else ids[:1])]
                self.constraint(table, "check", [], name=self.constraint_name(), expr=check_expression(self.rng, *refs))
                self.drop_twin_checks(table)

    def drop_twin_checks(self, table):
        """Two unnamed CHECKs of one text could not be told apart by DROP CHECK."""
        seen = set()
        for one in list(table.constraints):
            if one.kind == "check":
                if tuple(one.expr) in seen:
                    table.constraints.remove(one)
                seen.add(tuple(one.expr))

    def table(self, name):
        rng = self.rng
        table = Table(self.model.new_id(), name, weighted(rng, KINDS), strict=self.chance(0.25))
        table.without_rowid = table.kind == "without rowid"
        names = rng.sample(COLUMN_NAMES, 12)
        self.model.tables[table.id] = table
        self.add_key(table, names)
        late = rng.choice((0, 0, 0, 1)) if not table.without_rowid else 0
        columns = [self.column(table, names.pop()) for _ in range(rng.randrange(1, 5))]
        for column in columns[len(columns) - late:] if late and len(columns) > 1 else []:
            column.late = True
        for column in columns:
            self.add_traits(table, column)
        if all(one.generated for one in table.columns):
            table.columns[0].generated = None
        self.add_table_constraints(table)
        return table

    def log_table(self, name):
        table = Table(self.model.new_id(), name, "log", log=True)
        self.model.tables[table.id] = table
        self.column(table, "what", type="TEXT")
        self.column(table, self.rng.choice(COLUMN_NAMES), type="")
        if self.chance(0.3):
            self.column(table, "extra", type="TEXT", default="'none'", default_value="none")

    def reference(self, one, parent, key):
        one.parent = parent.id
        one.parent_columns = None if set(key) == set(parent.key_ids()) and self.chance(0.5) else list(key)
        if one.parent_columns is None:
            key[:] = parent.key_ids()
        one.on_delete = self.rng.choice(self.model.actions) if self.chance(0.6) else None
        one.on_update = self.rng.choice(self.model.actions) if self.chance(0.4) else None
        one.defer = self.rng.choice(("DEFERRABLE INITIALLY DEFERRED", "DEFERRABLE INITIALLY DEFERRED", "NOT DEFERRABLE",
                                     "DEFERRABLE INITIALLY IMMEDIATE")) if self.chance(0.4) else None

    def add_foreign_key(self, child):
        tables = list(self.model.tables.values())
        parent = child if self.chance(0.2) else self.rng.choice(tables)
        keys = [key for key in self.model.keys(parent)
                if all(parent.column(id).generated is None and not parent.column(id).late for id in key)]
        taken = {fold(one.name) for one in child.columns}
        names = [name for name in COLUMN_NAMES if fold(name) not in taken]
        if not keys or child.log or parent.log or child.strict and not parent.strict and self.chance(0.7):
            return
        key = list(self.rng.choice(keys))
        one = self.constraint(child, "foreign key", [], name=self.constraint_name())
        self.reference(one, parent, key)
        for id in key:
            source = parent.column(id)
            type = source.type if not child.strict or parent.strict else "ANY"
            column = self.column(child, names.pop(self.rng.randrange(len(names))), type=type, key_of=(parent.id, id))
            one.columns.append((column.id, None, False))
            column.not_null = self.chance(0.12) and child is not parent and tables.index(parent) < tables.index(child)
        one.inline = len(key) == 1 and self.chance(0.5)
        if self.chance(0.3):
            child.constraints.remove(one)       # its values obey a foreign key that is still to be added

    def indexes(self):
        for table in list(self.model.tables.values()):
            for _ in range(self.rng.choice((0, 0, 1, 1, 2))):
                index = random_index(self.rng, self.model, table, self.object_name("ix"))
                self.model.indexes[index.id] = index

    def views(self):
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            view = random_view(self.rng, self.model, self.object_name("v"))
            self.model.views[view.id] = view

    def triggers(self):
        taken = set()
        for _ in range(self.rng.choice((0, 0, 1, 2, 3))):
            trigger = random_trigger(self.rng, self.model, self.object_name("tr"))
            if trigger and (trigger.on, trigger.moment) not in taken:
                taken.add((trigger.on, trigger.moment))
                self.model.triggers[trigger.id] = trigger

    def make(self):
        rng, model = self.rng, self.model
        count = rng.choice((1, 2, 2, 3, 3, 4))
        names = rng.sample(TABLE_NAMES, count + 1)
        for name in names[:count]:
            self.table(name)
        if self.chance(0.5):
            self.log_table(names[count])
        for table in list(model.tables.values()):
            for _ in range(rng.choice((0, 0, 1, 1, 2))):
                self.add_foreign_key(table)
        for table in model.tables.values():
            table.columns.sort(key=lambda one: one.late)
        self.indexes()
        self.views()
        self.triggers()
        model.pragmas = {"user_version": rng.choice((0, 7, 2 ** 31 - 1)), "application_id": rng.choice((0, 1234)),
                         "encoding": "UTF-16le" if self.chance(0.03) else "UTF-8"}
        model.wal, model.analyze = self.chance(0.2), rng.choice(("no", "no", "no", "yes", "by hand"))
        return model


def check_expression(rng, first, second=None):
    if second:
        return rng.choice(([first, " IS NOT ", second, " OR ", first, " IS NULL"], ["coalesce(length(", first, "), 0) < 60 OR ", second, " > 0"]))
    return list(rng.choice(([first, " IS NOT 'zz'"], ["length(", first, ") < 60"], [first, " IS NULL OR ", first, " <> 13"],
                            ["typeof(", first, ") <> 'blob'"], [first, " <> ')'' ,--'"],
                            ["coalesce(", first, ", 0) NOT IN (13, 'zz', x'7a7a')"], [first, " >= -100"])))


def generated_expression(rng, source, column, strict):
    """Also gives the column a type that holds the result."""
    number = ["length(", source, ")"]
    texts = rng.choice((["typeof(", source, ")"], ["hex(", source, ")"], ["quote(", source, ") || '!'"]))
    column.type = rng.choice(("INTEGER", "TEXT") if strict else ("INTEGER", "TEXT", "", "NUMERIC"))
    return list(number if column.type == "INTEGER" else texts)


def random_index(rng, model, table, name):
    index = Index(model.new_id(), name, table.id, [])
    for column in rng.sample(table.columns, rng.choice((1, 1, 2)) if len(table.columns) > 1 else 1):
        ref = C(table.id, column.id)
        one = rng.choice((["length(", ref, ")"], ["typeof(", ref, ")"], ["coalesce(hex(", ref, "), '')"])) if rng.random() < 0.2 else column.id
        index.columns.append((list(one) if isinstance(one, list) else one, rng.choice(COLLATIONS) if rng.random() < 0.15 else None,
                              rng.random() < 0.2))
    ref = C(table.id, rng.choice(table.columns).id)
    if rng.random() < 0.25:
        index.where = list(rng.choice(([ref, " IS NOT NULL"], [ref, " > 5"], ["typeof(", ref, ") = 'text'"])))
    index.unique = rng.random() < 0.3 and not any(column.late for column in table.columns)
    return index


def random_view(rng, model, name):
    table = rng.choice(list(model.tables.values()))
    other = rng.choice(list(model.tables.values()))
    a, b = (C(table.id, rng.choice(table.columns).id) for _ in range(2))
    c = C(other.id, rng.choice(other.columns).id)
    way = rng.randrange(7)
    view = View(model.new_id(), name, [])
    if way == 0:
        view.body, view.star = ["SELECT * FROM ", T(table.id)], table.id
    elif way == 1:
        view.body = ["SELECT l.", a, " AS k, r.", c, " AS m FROM ", T(table.id), " AS l JOIN ", T(other.id), " AS r ON l.", b, " IS r.", c]
        view.key = "k"
    elif way == 2:
        view.body = ["SELECT count(*) AS n, max(", a, ") AS m FROM ", T(table.id), " WHERE ", b, " IS NOT NULL"]
    elif way == 3:
        view.body, view.names, view.key = ["SELECT ", a, ", ", b, " FROM ", T(table.id)], ["k", "odd name"], "k"
    elif way == 4:
        view.body = ["WITH q(z) AS (SELECT ", a, " FROM ", T(table.id), ") SELECT z AS k, count(*) AS n FROM q GROUP BY z"]
    elif way == 5 and model.views:
        view.body = ["SELECT count(*) AS n FROM ", T(rng.choice(list(model.views)))]
    else:
        view.body, view.key = ["SELECT ", T(table.id), ".", a, " AS k, typeof(", b, ") AS kind FROM ", T(table.id)], "k"
    return view


def random_trigger(rng, model, name):
    """Writes only to a log or to a later table, so that triggers end. None where the tables do not permit it."""
    tables = list(model.tables.values())
    at = rng.randrange(len(tables))
    table, logs = tables[at], [one for one in tables if one.log and len(one.writable()) > 1]
    later = [one for one in tables[at + 1:] if not one.log]
    a, b = (C(table.id, rng.choice(table.columns).id) for _ in range(2))
    trigger = Trigger(model.new_id(), name, table.id, "", [], None, [])
    if table.log:
        return None
    way = rng.choice(("log", "log", "log of", "raise", "clear", "copy", "view"))
    if way.startswith("log") and logs:
        what, value = logs[0].writable()[:2]
        event, row = rng.choice((("INSERT", "NEW."), ("DELETE", "OLD."), ("UPDATE", "OLD.")))
        if way == "log of":
            event, row, trigger.of = "UPDATE", "NEW.", sorted({a.column, b.column})
            if not {one.id for one in table.writable()} & set(trigger.of):
                trigger.of = []  # an UPDATE of computed columns alone can never happen
            trigger.when = ["OLD.", a, " IS NOT NEW.", a]
        trigger.moment = "AFTER " + event
        trigger.body = ["INSERT INTO ", T(logs[0].id), " (", C(logs[0].id, what.id), ", ", C(logs[0].id, value.id), ") VALUES ('",
                        event.lower(), "; end', ", row, b, ")"]
    elif way == "raise":
        trigger.moment = "BEFORE DELETE"
        trigger.body = ["SELECT RAISE(ABORT, 'kept') WHERE OLD.", a, " = 'zz'; SELECT 1"]
    elif way in ("clear", "copy") and later:
        other = rng.choice(later)
        c = C(other.id, rng.choice(other.writable()).id)
        trigger.moment = "AFTER DELETE" if way == "clear" else "AFTER INSERT"
        trigger.body = ["UPDATE ", T(other.id), " SET ", c, " = NULL WHERE ", c, " = OLD.", a]
        if way == "copy":
            trigger.body = ["INSERT INTO ", T(other.id), " (", c, ") SELECT NEW.", a, " WHERE NOT EXISTS (SELECT 1 FROM ", T(other.id),
                            " WHERE ", c, " IS NEW.", a, ")"]
    elif way == "view" and any(view.key for view in model.views.values()):
        view = rng.choice([view for view in model.views.values() if view.key])
        trigger.on, trigger.moment = view.id, "INSTEAD OF INSERT"
        into = C(table.id, rng.choice(table.writable()).id)
        trigger.body = ["INSERT INTO ", T(table.id), " (", into, ") VALUES (NEW.", view.key, ")"]
    return trigger if trigger.body else None


# ---- Building the database before the change -----------------------------------------------------------------------------------

def connect(place=":memory:"):
    return sqlite3.connect(place, isolation_level=None)


def insert_sql(table, columns, rowid=None):
    names = ([rowid] if rowid else []) + [PLAIN.name(one.name) for one in columns]
    return f"INSERT OR ABORT INTO {PLAIN.name(table.name)} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


class Builder:
    """Creates the database of a model and fills it with rows that it accepts; reads these back into the model."""

    def __init__(self, rng, model):
        self.rng, self.model, self.style = rng, model, Wild(rng, model)
        self.db, self.log = connect(), []

    def run(self, sql, values=()):
        self.db.execute(sql, values)
        for value in values:
            sql = sql.replace("?", literal(value).replace("?", "\0"), 1)
        self.log.append(sql.replace("\0", "?") + ";")

    def tried(self, sql, values=()):
        try:
            self.run(sql, values)
            return True
        except (sqlite3.IntegrityError, sqlite3.OperationalError) as error:
            if "failed" not in str(error) and isinstance(error, sqlite3.OperationalError):
                raise
            return False

    def row_values(self, table, columns):
        """Values for one row; those of a foreign key come from one row of its parent."""
        parents, values = {}, []
        for column in columns:
            if column.key_of:
                rows = self.model.tables[column.key_of[0]].rows
                if column.key_of[0] not in parents:
                    parents[column.key_of[0]] = self.rng.choice(rows)[1] if rows and self.rng.random() < 0.8 else {}
                values.append(parents[column.key_of[0]].get(column.key_of[1]))
            elif column is table.alias():
                values.append(self.rng.choice((None, self.rng.randrange(1, 40), self.rng.randrange(-9, 1000), 2 ** 40 + 1)))
            elif column.id in table.key_ids():
                values.append(fresh_value(self.rng, column, table.strict) if self.rng.random() < 0.8 else self.rng.randrange(9))
            elif table.rows and affinity(column.type, table.strict) == "TEXT" and self.rng.random() < 0.12:
                twin = self.rng.choice(table.rows)[1].get(column.id)        # the same but for its case
                values.append(twin.swapcase() if isinstance(twin, str) and twin.isascii() else "Twin")
            else:
                values.append(random_value(self.rng, column, table.strict))
        return values

    def fill(self, table, columns, count):
        rowid = None if table.alias() or self.rng.random() < 0.3 else table.rowid_name()
        for _ in range(count):
            used = [one for one in columns if one.default is None or self.rng.random() < 0.8] or columns
            values = self.row_values(table, used)
            given = [self.rng.choice((self.rng.randrange(1, 60), self.rng.randrange(-50, 9999), 2 ** 40))] if rowid else []
            if self.tried(insert_sql(table, used, rowid), given + values):
                row = dict(zip([one.id for one in used], values))
                if table.alias():
                    row[table.alias().id] = self.db.execute("SELECT last_insert_rowid()").fetchone()[0]
                table.rows.append([None, row])

    def create(self, table):
        early = [one for one in table.columns if not one.late]
        self.run(create_table(self.model, table, self.style, early))
        self.fill(table, [one for one in early if one.generated is None], self.rng.choice(ROW_COUNTS))
        for column in table.columns:
            if column.late:
                chunks = column_chunks(self.model, table, column, self.style)
                text = self.style.weave(chunks, table.id, column.id)
                if not self.tried(f"ALTER TABLE {self.style.name(table.name)} ADD COLUMN {text}"):
                    raise Skip      # its default violates its own CHECK
        if len(early) < len(table.columns):
            self.fill(table, table.writable(), self.rng.randrange(4))
        read_rows(self.db, table)

    def close_circles(self):
        """A child that was made before its parent has no values yet: give it some."""
        for table in self.model.tables.values():
            for column in table.columns:
                if column.key_of and table.rowid_name():
                    parent = self.model.tables[column.key_of[0]]
                    for rowid, _ in table.rows:
                        if parent.rows and self.rng.random() < 0.3:
                            value = self.rng.choice(parent.rows)[1][column.key_of[1]]
                            self.tried(f"UPDATE OR ABORT {PLAIN.name(table.name)} SET {PLAIN.name(column.name)} = ? "
                                       f"WHERE {table.rowid_name()} = ?", (value, rowid))

    def end_sequences(self):
        """Deletes the newest row of some AUTOINCREMENT tables: the sequence must remember it."""
        for table in self.model.tables.values():
            if table.kind == "autoincrement" and self.rng.random() < 0.5:
                name, key = PLAIN.name(table.name), PLAIN.name(table.alias().name)
                self.run(f"DELETE FROM {name} WHERE {key} = (SELECT max({key}) FROM {name})")

    def clean(self):
        """Deletes rows whose foreign keys are violated, until there are none."""
        names = {table.name: table for table in self.model.tables.values()}
        while True:
            bad = self.db.execute("PRAGMA foreign_key_check").fetchall()
            if not bad:
                return
            for name, rowid, _, _ in bad:
                key = names[name].rowid_name()
                where = f" WHERE {key} = {rowid}" if rowid is not None and key else ""
                self.run(f"DELETE FROM {PLAIN.name(name)}{where}")

    def build(self):
        model = self.model
        self.run(f"PRAGMA encoding = '{model.pragmas['encoding']}'")
        for table in model.tables.values():
            indexes = [one for one in model.indexes.values() if one.table == table.id]
            if any(one.late for one in table.columns) or self.rng.random() < 0.3:
                self.create(table)
                for index in indexes:
                    if not self.tried(create_index(model, index, self.style)):
                        del model.indexes[index.id]
            else:
                self.create_with_indexes(table, indexes)
        self.close_circles()
        self.end_sequences()
        self.clean()
        for view in model.views.values():
            self.run(create_view(model, view, self.style))
        for trigger in model.triggers.values():
            self.run(create_trigger(model, trigger, self.style))
        if model.analyze != "no":
            self.run("ANALYZE")
        if model.analyze == "by hand":
            self.run("UPDATE sqlite_stat1 SET stat = '4711 11 1' WHERE idx IS NOT NULL")
        for pragma in ("user_version", "application_id"):
            self.run(f"PRAGMA {pragma} = {model.pragmas[pragma]}")
        sequences = read_sequences(self.db)
        for table in model.tables.values():
            read_rows(self.db, table)
            table.sequence = sequences.get(table.name)

    def create_with_indexes(self, table, indexes):
        """Indexes first, so that only rows which unique ones accept come in."""
        self.run(create_table(self.model, table, self.style))
        for index in indexes:
            self.run(create_index(self.model, index, self.style))
        self.fill(table, table.writable(), self.rng.choice(ROW_COUNTS))
        read_rows(self.db, table)


def read_rows(db, table):
    columns = table.writable()
    rowid = table.rowid_name() or "NULL"
    names = ", ".join(PLAIN.name(one.name) for one in columns)
    rows = db.execute(f"SELECT {rowid}, {names} FROM {PLAIN.name(table.name)} NOT INDEXED").fetchall()
    table.rows = [[row[0], dict(zip([one.id for one in columns], row[1:]))] for row in rows]


def read_sequences(db):
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone() is None:
        return {}
    return dict(db.execute("SELECT name, seq FROM sqlite_sequence"))


# ---- Building the expected database --------------------------------------------------------------------------------------------

class Violated(Exception):
    """The rows do not fit the schema: the change must be refused."""


def build_target(model, order=None):
    """The database of a changed model, written directly. order: names of objects in the order they are to be created."""
    db = connect()
    db.execute(f"PRAGMA encoding = '{model.pragmas['encoding']}'")
    place = {name: at for at, name in enumerate(order or ())}

    def ordered(objects):
        return sorted(objects.values(), key=lambda one: place.get(one.name, len(place)))

    db.execute("BEGIN")
    try:
        for table in ordered(model.tables):
            db.execute(create_table(model, table, PLAIN))
            columns = table.writable()
            rowid = None if table.alias() else table.rowid_name()
            db.executemany(insert_sql(table, columns, rowid),
                           [([row[0]] if rowid else []) + [row[1][one.id] for one in columns] for row in table.rows])
        for index in ordered(model.indexes):
            db.execute(create_index(model, index, PLAIN))
    except sqlite3.IntegrityError as error:
        raise Violated(re.sub(r"(failed|index|column).*", r"\1", str(error))) from None
    for view in ordered(model.views):
        db.execute(create_view(model, view, PLAIN))
    for trigger in ordered(model.triggers):
        db.execute(create_trigger(model, trigger, PLAIN))
    for table in model.tables.values():
        if table.sequence is not None:
            db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
            db.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table.name, table.sequence))
    db.execute("COMMIT")
    for pragma in ("user_version", "application_id"):
        db.execute(f"PRAGMA {pragma} = {model.pragmas[pragma]}")
    if db.execute("PRAGMA foreign_key_check").fetchone():
        raise Violated("FOREIGN KEY constraint failed")
    return db


# ---- Random changes that ought to succeed --------------------------------------------------------------------------------------

ACTIONS = {"add column": 8, "drop column": 5, "type": 7, "set default": 3, "drop default": 2, "set not null": 3, "drop not null": 2,
           "add foreign key": 4, "add unique": 2, "add check": 3, "add primary key": 2, "drop constraint": 3, "drop foreign key": 2,
           "drop unique": 2, "drop check": 2, "drop primary key": 1, "rebuild": 1}


def sqlite_cannot_rename(table, column):
    """SQLite 3.40 fails ('no such column ... after rename') where UNIQUE names the INTEGER PRIMARY KEY of a WITHOUT ROWID table."""
    return table.without_rowid and table.key_ids() == [column.id] and fold(column.type) == "integer" and \
        any(one.kind == "unique" and column.id in one.ids() for one in table.constraints)


class Change:
    """A script, and the model after it. Every action returns its text and changes the model by its own rules."""

    def __init__(self, model, rng):
        self.model, self.rng, self.style = model.clone(), rng, Wild(rng)
        self.maker = Maker(random.Random(rng.random()))
        self.maker.model = self.model
        self.before = model
        self.statements, self.kinds = [], []
        self.reason = None              # why it must be refused
        self.confirm = []               # SQL of which SQLite itself must refuse one, where it can confirm the reason
        self.either = False
        self.altered, self.renamed, self.touched = set(), set(), set()
        self.loose_rowids = set()       # tables whose rowids may be new
        self.marks, self.reserved, self.was_key_dropped = {}, set(), False

    # -- small helpers

    def chance(self, share):
        return self.rng.random() < share

    def pick(self, options):
        options = list(options)
        if not options:
            raise Skip
        return self.rng.choice(options)

    def name(self, table, column=None):
        return self.style.ref(column.name if column else table.name)

    def free(self, column, *aspects):
        marks = self.marks.get(column.id, set())
        return not marks & set(aspects) and "new" not in marks if aspects else not marks

    def mark(self, column, *aspects):
        self.marks.setdefault(column.id, set()).update(aspects)
        self.touched.add(column.id)

    def fresh_name(self, table):
        taken = {fold(one.name) for one in table.columns} | self.reserved | {"rowid", "oid", "_rowid_"}
        return self.pick(name for name in COLUMN_NAMES if fold(name) not in taken)

    def listing(self, table, ids):
        return "(" + self.style.comma.join(self.name(table, table.column(id)) for id in ids) + ")"

    def con_name(self):
        name = self.maker.constraint_name(0.5)
        return name, f"{self.style.word('CONSTRAINT')} {self.style.name(name)} " if name else ""

    def set_rows(self, table, column, value):
        for row in table.rows:
            row[1][column.id] = value

    # -- actions

    def add_column(self, table):
        rng, column = self.rng, self.maker.column(table, self.fresh_name(table))
        table.columns.remove(column)
        kind = rng.choice(("plain", "plain", "default", "default", "not null", "unique", "check", "references", "generated", "generated"))
        strict, aff = table.strict, lambda: affinity(column.type, table.strict)
        if aff() == "TEXT" and self.chance(0.3):
            column.collate = rng.choice(COLLATIONS)
        if kind in ("default", "not null", "check") and (kind == "default" or self.chance(0.7) or table.rows):
            column.default, column.default_value = random_default(rng, column, strict)
            if aff() == "BLOB" and column.default_value == 2.0:
                raise Skip      # in rows that were there before, SQLite shows the integer 2 after its own ADD COLUMN
        if kind == "not null":
            column.not_null = True
            if table.rows and column.default_value is None:
                raise Skip
        if kind == "generated":
            source = self.pick(one for one in table.columns if one.generated is None and self.free(one))
            column.generated = generated_expression(rng, C(table.id, source.id), column, strict)
            column.stored, column.collate = self.chance(0.5), None
            self.mark(source, "anchor")
        table.columns.append(column)
        if kind in ("unique", "check"):
            expr = check_expression(rng, C(table.id, column.id)) if kind == "check" else None
            self.maker.constraint(table, kind, [column.id], inline=True, name=self.maker.constraint_name(), expr=expr)
        if kind == "references":
            self.add_reference(table, column)
        if column.generated is None:
            self.set_rows(table, column, store(column.default_value, aff()))
        text = self.style.weave(column_chunks(self.model, table, column, self.style))
        self.mark(column, "new")
        self.kinds.append("ADD COLUMN " + kind)
        return rng.choice(("ADD COLUMN ", "ADD ", "add column ")) + text + self.position(table, column)

    def add_reference(self, table, column):
        parent = self.pick(one for one in self.model.tables.values() if any(len(key) == 1 for key in self.model.keys(one)))
        key = list(self.pick(key for key in self.model.keys(parent) if len(key) == 1))
        column.type = parent.column(key[0]).type if not table.strict or parent.strict else "ANY"
        one = self.maker.constraint(table, "foreign key", [column.id], inline=True, name=self.maker.constraint_name())
        self.maker.reference(one, parent, key)
        values = [row[1][key[0]] for row in parent.rows if key[0] in row[1]] if parent is not table else []
        if values and self.chance(0.4) and isinstance(values[0], (int, str)):
            column.default_value = self.pick(values)
            column.default = literal(column.default_value)
            if isinstance(column.default_value, int) and column.default_value < -2 ** 62:
                raise Skip

    def position(self, table, column):
        way = self.rng.choice(("", "", "", "FIRST", "AFTER", "BEFORE"))
        if not way:
            return ""
        table.columns.remove(column)
        self.kinds.append("ADD COLUMN " + way)
        if way == "FIRST":
            if "first" in self.marks:
                raise Skip
            self.marks["first"] = {"used"}
            table.columns.insert(0, column)
            return " FIRST"
        anchor = self.pick(one for one in table.columns if self.free(one, "anchor"))
        self.marks.setdefault(anchor.id, set()).add("anchor")
        table.columns.insert(table.columns.index(anchor) + (way == "AFTER"), column)
        return f" {self.style.word(way)} {self.name(table, anchor)}"

    def forget_column(self, table, column):
        """Drops it from the model, and the constraints on it alone."""
        self.touched.add(column.id)
        for one in list(table.constraints):
            if one.mentions() == {column.id}:
                self.touched.add(one.id)
                table.constraints.remove(one)
        table.columns.remove(column)

    def drop_column(self, table):
        column = self.pick(one for one in table.columns if self.free(one) and not self.model.uses_of(table, one))
        # Columns are dropped before others are added: one of the old ones has to stay.
        if not [one for one in table.writable() if one is not column and "new" not in self.marks.get(one.id, ())]:
            raise Skip
        text = self.rng.choice(("DROP COLUMN ", "DROP ")) + self.name(table, column)
        self.forget_column(table, column)
        if self.model.broken_foreign_key():
            raise Skip
        self.kinds.append("DROP COLUMN")
        return text

    def type_candidates(self, table):
        return [one for one in table.writable() if self.free(one, "type", "new", "con")]

    def change_type(self, table):
        rng, column = self.rng, self.pick(self.type_candidates(table))
        type = rng.choice(STRICT_TYPES if table.strict else [one for one in LOOSE_TYPES if one])
        was_alias = table.alias()
        if column is was_alias and table.primary_key().auto:
            raise Skip
        text = f"ALTER {rng.choice(('COLUMN ', ''))}{self.name(table, column)} TYPE {type}"
        if self.chance(0.2):
            column.collate = rng.choice(COLLATIONS)
            text += " COLLATE " + column.collate
        using = self.chance(0.3) and column.id not in table.key_ids()
        new, strict = affinity(type, table.strict), table.strict
        if using:
            values, using_text = self.using(table, column)
            text += " USING " + using_text
            for row, value in zip(table.rows, values):
                row[1][column.id] = store(value, new)
        else:
            for row in table.rows:
                row[1][column.id], verdict = restored(row[1][column.id], affinity(column.type, strict), new)
                if verdict == "lost":
                    raise Skip
                self.either |= verdict == "debatable"
        if strict and not all(fits(row[1][column.id], type) for row in table.rows):
            raise Skip
        if strict and column.default and not fits(store(column.default_value, new), type):
            self.either = True
        column.type = type
        self.mark(column, "type")
        self.after_alias_change(table, was_alias)
        self.kinds.append("TYPE USING" if using else "TYPE")
        return text

    def after_alias_change(self, table, was_alias):
        alias = table.alias()
        if alias is was_alias:
            return
        self.loose_rowids.add(table.id)
        if alias and any(not isinstance(row[1][alias.id], int) or row[1][alias.id] == 2 ** 63 - 1 for row in table.rows):
            raise Skip
        if was_alias and not self.was_key_dropped:
            self.either = True          # the type of an INTEGER PRIMARY KEY: nobody says whether it may stop to be the rowid

    def using(self, table, column):
        """(values of a random expression over the rows, its text)"""
        ref = C(table.id, column.id)
        other = C(table.id, self.pick(one for one in table.writable() if self.free(one, "type") and self.free(one, "drop")).id)
        parts = list(self.rng.choice((["length(", ref, ")"], ["coalesce(", ref, ", 7)"], ["CAST(", ref, " AS INTEGER)"], ["typeof(", ref, ")"],
                                      [other], ["42"], ["CASE WHEN ", ref, " IS NULL THEN 0 ELSE 1 END"], ["hex(", ref, ")"],
                                      ["quote(", other, ") || ', ('"])))
        for id in columns_in(parts):
            self.marks.setdefault(id, set()).update(("type", "anchor"))
        db = connect()
        db.execute(f"PRAGMA encoding = '{self.model.pragmas['encoding']}'")
        bare = Table(table.id, table.name, "", columns=[Column(one.id, one.name, one.type, one.collate) for one in table.writable()],
                     strict=table.strict)
        db.execute(create_table(self.model, bare, PLAIN))
        db.executemany(insert_sql(bare, bare.columns), [[row[1][one.id] for one in bare.columns] for row in table.rows])
        values = [row[0] for row in db.execute(f"SELECT {expression(self.model, parts)} FROM {PLAIN.name(table.name)}")]
        return values, expression(self.model, parts, self.style)

    def set_default(self, table):
        fit = [one for one in table.writable() if self.free(one, "default") and one is not table.alias()]
        column = self.pick([one for one in fit if one.late] or fit)
        column.default, column.default_value = random_default(self.rng, column, table.strict)
        self.mark(column, "default")
        self.kinds.append("SET DEFAULT")
        return f"ALTER COLUMN {self.name(table, column)} SET DEFAULT {column.default}"

    def drop_default(self, table):
        column = self.pick(one for one in table.writable() if self.free(one, "default") and (one.default or self.chance(0.1)))
        column.default, column.default_value = None, None
        self.mark(column, "default")
        self.kinds.append("DROP DEFAULT")
        return f"ALTER {self.name(table, column)} DROP DEFAULT"

    def set_not_null(self, table):
        column = self.pick(one for one in table.writable() if self.free(one, "null") and one is not table.alias()
                           and (not one.not_null or self.chance(0.1)) and all(row[1][one.id] is not None for row in table.rows))
        column.not_null = True
        self.mark(column, "null")
        self.kinds.append("SET NOT NULL")
        return f"ALTER COLUMN {self.name(table, column)} SET NOT NULL"

    def drop_not_null(self, table):
        column = self.pick(one for one in table.columns if self.free(one, "null") and one.id not in table.key_ids()
                           and (one.not_null or self.chance(0.05)))
        column.not_null, column.not_null_name, column.not_null_conflict = False, None, None
        self.mark(column, "null")
        self.kinds.append("DROP NOT NULL")
        return f"ALTER {self.name(table, column)} {self.style.word('DROP NOT NULL')}"

    def mark_all(self, table, ids, aspect):
        for id in ids:
            self.marks.setdefault(id, set()).add(aspect)

    def add_foreign_key(self, table):
        waiting = [one for one in table.columns if one.key_of and not any(
            key.kind == "foreign key" and one.id in key.ids() for key in table.constraints)]
        column = self.pick(waiting)
        parent = self.model.tables.get(column.key_of[0])
        if parent is None or [column.key_of[1]] not in self.model.keys(parent):
            raise Skip
        one = self.maker.constraint(table, "foreign key", [column.id], name=self.maker.constraint_name(0.5))
        self.maker.reference(one, parent, [column.key_of[1]])
        one.defer = "DEFERRABLE INITIALLY DEFERRED" if one.defer else None
        self.mark_all(table, [column.id], "con")
        self.kinds.append("ADD FOREIGN KEY")
        return "ADD " + self.style.weave(constraint_chunks(self.model, table, one, self.style))

    def distinct(self, table, ids):
        rows = [tuple(row[1].get(id) for id in ids) for row in table.rows]
        whole = [row for row in rows if None not in row]
        return len(whole) == len(set(map(repr, whole)))

    def add_unique(self, table):
        ids = [one.id for one in self.rng.sample(table.columns, min(len(table.columns), self.rng.choice((1, 2))))]
        same = any(one.kind == "unique" and set(one.ids()) == set(ids) for one in table.constraints)
        if same or set(ids) == set(table.key_ids()) or not self.distinct(table, ids):
            raise Skip
        name, head = self.con_name()
        self.maker.constraint(table, "unique", ids, name=name)
        self.mark_all(table, ids, "con")
        self.kinds.append("ADD UNIQUE")
        return f"ADD {head}{self.style.word('UNIQUE')} {self.listing(table, ids)}"

    def add_check(self, table):
        picked = self.rng.sample(table.columns, min(len(table.columns), self.rng.choice((1, 2))))
        expr = check_expression(self.rng, *[C(table.id, one.id) for one in picked])
        if any(one.expr == expr for one in table.constraints):
            raise Skip
        name, head = self.con_name()
        self.maker.constraint(table, "check", [], name=name, expr=expr)
        self.mark_all(table, [one.id for one in picked], "con")
        self.kinds.append("ADD CHECK")
        return f"ADD {head}{self.style.word('CHECK')} ({expression(self.model, expr, self.style)})"

    def add_primary_key(self, table):
        """Only over NOT NULL columns: whether a key implies NOT NULL differs between SQLite and the standard."""
        fit = [one for one in table.writable() if one.not_null and self.free(one, "null") and self.distinct(table, [one.id])]
        if table.primary_key() or not fit:
            raise Skip
        ids = [one.id for one in self.rng.sample(fit, self.rng.choice((1, len(fit))))]
        name, head = self.con_name()
        self.maker.constraint(table, "primary key", ids, name=name)
        self.mark_all(table, ids, "con")
        self.after_alias_change(table, None)
        self.kinds.append("ADD PRIMARY KEY")
        return f"ADD {head}PRIMARY KEY {self.listing(table, ids)}"

    def forget_constraint(self, table, one):
        table.constraints.remove(one)
        self.touched.add(one.id)
        if one.inline:
            self.touched.update(one.ids())
        for id in one.mentions():
            self.marks.setdefault(id, set()).add("con")
        if self.model.broken_foreign_key():
            raise Skip

    def known(self, table, one):
        """A constraint that stood in the table before the script."""
        return table.id in self.before.tables and any(one.id == other.id for other in self.before.tables[table.id].constraints)

    def drop_constraint(self, table):
        one = self.pick(one for one in table.constraints if one.name and one.kind != "primary key" and self.known(table, one))
        self.forget_constraint(table, one)
        self.kinds.append("DROP CONSTRAINT " + one.kind)
        return f"DROP CONSTRAINT {self.name(one)}"

    def drop_unnamed(self, table, kind):
        one = self.pick(one for one in table.constraints if one.kind == kind and not one.name and self.known(table, one)
                        and not any(collation for _, collation, _ in one.columns))
        twins = [other for other in table.constraints if other.kind == kind and set(other.ids()) == set(one.ids())]
        if kind == "foreign key" and len(twins) > 1:
            raise Skip
        if kind == "check":
            if self.renamed:
                raise Skip
            text = f"({one.text})"
        else:
            text = self.listing(table, one.ids())
        self.forget_constraint(table, one)
        self.kinds.append(f"DROP {kind.upper()}")
        return f"DROP {kind.upper()} {text}"

    def drop_foreign_key(self, table):
        return self.drop_unnamed(table, "foreign key")

    def drop_unique(self, table):
        return self.drop_unnamed(table, "unique")

    def drop_check(self, table):
        return self.drop_unnamed(table, "check")

    def drop_primary_key(self, table):
        one = table.primary_key()
        if one is None or table.without_rowid or one.auto:
            raise Skip
        self.was_key_dropped = True
        self.forget_constraint(table, one)
        self.kinds.append("DROP PRIMARY KEY")
        return f"DROP CONSTRAINT {self.name(one)}" if one.name and self.chance(0.5) else "DROP PRIMARY KEY"

    def rebuild(self, table):
        self.kinds.append("REBUILD")
        return self.style.word("REBUILD")

    # -- renames: texts with the old names first, the model changed afterwards

    def rename_columns(self, table):
        texts, new_names = [], {}
        free = [one for one in table.columns if "new" not in self.marks.get(one.id, ())]
        picked = self.rng.sample(free, min(len(free), self.rng.choice((1, 1, 1, 2))))
        if not picked:
            raise Skip
        if len(picked) == 2 and self.chance(0.5):
            new_names = {picked[0].id: picked[1].name, picked[1].id: picked[0].name}
            self.kinds.append("RENAME COLUMN swap")
        else:
            for column in picked:
                new_names[column.id] = self.pick({self.fresh_name(table)} - set(new_names.values()))
        for column in picked:
            word = self.rng.choice(("RENAME COLUMN ", "RENAME ", "rename column "))
            texts.append(f"{word}{self.name(table, column)} TO {self.style.name(new_names[column.id])}")
            self.kinds.append("RENAME COLUMN")
        self.reserved = {fold(one.name) for one in picked} | set(map(fold, new_names.values()))
        return texts, new_names

    def rename_table(self, table):
        new = self.pick(name for name in TABLE_NAMES if fold(name) not in self.model.names())
        self.kinds.append("RENAME TO")
        return f"RENAME TO {self.style.name(new)}", new

    # -- statements

    def begin(self, table):
        self.marks, self.reserved = {}, set()
        self.altered.add(table.id)
        self.unnameable = {one.id for one in table.columns if sqlite_cannot_rename(table, one)}

    def check_so_far(self):
        """A step of the script that fails cannot be mended by a later one: the model after each must be possible."""
        try:
            if self.model.broken_foreign_key():
                raise Skip
            build_target(self.model).close()
        except Violated:
            raise Skip from None

    def say_alter(self, table_name, actions):
        self.statements.append(f"ALTER TABLE {table_name} " + self.style.comma.join(actions))

    def alter(self, table):
        """One ALTER TABLE of up to four actions that ought to succeed."""
        self.begin(table)
        name, actions, renames, new_table = self.name(table), [], {}, None
        count = self.rng.choice((1, 1, 1, 2, 2, 3, 4))
        if self.chance(0.22):
            texts, renames = self.rename_columns(table)
            if self.chance(0.5):
                count = 0
        if self.chance(0.1):
            last, new_table = self.rename_table(table)
            count = 0 if self.chance(0.6) else count
        for _ in range(count):
            action = "change_type" if (kind := weighted(self.rng, ACTIONS)) == "type" else kind.replace(" ", "_")
            actions.append(getattr(self, action)(table))
        if renames and any(id not in {one.id for one in table.columns} for id in renames):
            raise Skip
        actions += texts if renames else []
        for id, new in renames.items():
            self.either |= id in self.unnameable or sqlite_cannot_rename(table, table.column(id))
            table.column(id).name = new
            self.renamed.add(id)
        if new_table:
            actions.append(last)
            table.name = new_table
            self.renamed.add(table.id)
        self.say_alter(name, actions)

    def fill_nulls(self, table):
        """UPDATE before SET NOT NULL: what a migration most often needs."""
        guarded = any(one.conflict for one in table.constraints) or any(one.not_null_conflict for one in table.columns)
        if guarded or any(one.on == table.id for one in self.model.triggers.values()):
            raise Skip
        keys = {id for _, one in self.model.foreign_keys() for id in one.ids() + (one.parent_columns or [])}
        column = self.pick(one for one in table.writable() if one.id not in keys and one.id not in table.key_ids() and not one.not_null
                           and any(row[1][one.id] is None for row in table.rows) and one is not table.alias())
        value = store(fresh_value(self.rng, column, table.strict), affinity(column.type, table.strict))
        for row in table.rows:
            row[1][column.id] = value if row[1][column.id] is None else row[1][column.id]
        self.statements.append(f"UPDATE {self.name(table)} SET {self.name(table, column)} = {literal(value)} "
                               f"WHERE {self.name(table, column)} IS NULL")
        self.begin(table)
        text = f"ALTER {self.name(table, column)} SET NOT NULL"
        column.not_null = True
        self.mark(column, "null", "type")
        self.kinds += ["UPDATE, SET NOT NULL", "SET NOT NULL"]
        self.say_alter(self.name(table), [text])

    def free_and_drop(self, table):
        """Drops the indexes, views and triggers that need a column, and then the column."""
        column = self.pick(one for one in table.columns
                           if 0 < len(why := self.model.uses_of(table, one)) and set(why) <= {"index", "view", "trigger"})
        ref = C(table.id, column.id)
        if len(table.writable()) == 1:
            raise Skip
        for kind, objects, needs in (("TRIGGER", self.model.triggers, lambda one: ref in one.parts()),
                                     ("VIEW", self.model.views, lambda one: ref in one.parts()),
                                     ("INDEX", self.model.indexes, lambda one: one.table == table.id and column.id in one.mentions())):
            for one in [one for one in objects.values() if needs(one)]:
                if kind == "VIEW" and any(T(one.id) in other.parts() for group in (self.model.views, self.model.triggers)
                                          for other in group.values()):
                    raise Skip
                del objects[one.id]
                self.statements.append(f"DROP {kind} {self.name(one)}")
                self.kinds.append("DROP " + kind)
        self.begin(table)
        text = f"DROP COLUMN {self.name(table, column)}"
        self.forget_column(table, column)
        self.say_alter(self.name(table), [text])
        self.kinds.append("DROP COLUMN")
        if self.model.broken_foreign_key():
            raise Skip

    def follow(self, table):
        """A plain CREATE after the change, with the new names."""
        kind = self.rng.choice(("INDEX", "VIEW", "TRIGGER", "TABLE"))
        if kind == "INDEX":
            one = random_index(self.rng, self.model, table, self.maker.object_name("new"))
            self.model.indexes[one.id] = one
            text = create_index(self.model, one, self.style)
        elif kind == "VIEW":
            one = random_view(self.rng, self.model, self.maker.object_name("new"))
            self.model.views[one.id] = one
            text = create_view(self.model, one, self.style)
        elif kind == "TRIGGER":
            one = random_trigger(self.rng, self.model, self.maker.object_name("new"))
            if one is None or any((one.on, one.moment) == (other.on, other.moment) for other in self.model.triggers.values()):
                return
            self.model.triggers[one.id] = one
            text = create_trigger(self.model, one, self.style)
        else:
            one = Table(self.model.new_id(), self.maker.object_name("new"), "no key")
            self.model.tables[one.id] = one
            self.maker.column(one, "x")
            self.maker.column(one, "y")
            text = create_table(self.model, one, self.style)
        self.kinds.append("CREATE " + kind)
        self.statements.append(text)

    def make_ok(self):
        rng = self.rng
        table = self.pick(self.model.tables.values())
        begin = rng.choice((self.fill_nulls, self.free_and_drop, None, None, None, None, None, None))
        if begin:
            begin(table)
        for other, share in ((table, 0.3 if begin else 1), (self.pick(self.model.tables.values()), 0.25)):
            if self.chance(share):
                if self.statements:
                    self.check_so_far()
                self.alter(other)
        if self.chance(0.25):
            self.follow(table)

    def make_refused(self, recipe):
        table = self.pick(self.model.tables.values())
        if self.chance(0.2):
            other = self.pick(self.model.tables.values())
            if other is not table:
                self.alter(other)
        self.begin(table)
        name = self.name(table)
        self.reason = recipe
        text = REFUSALS[recipe](self, table)
        if recipe in WHOLE_STATEMENTS:
            if self.chance(0.5):
                self.alter(table)
            self.statements.append(text)
        else:
            actions = [text]
            if self.chance(0.25):
                actions.insert(self.rng.randrange(2), self.rebuild(table))
            if self.chance(0.25):
                actions.insert(self.rng.randrange(2), f"ADD COLUMN added_{self.rng.randrange(99)} TEXT DEFAULT 'x'")
            self.say_alter(name, actions)
        if self.renamed or len(self.statements) > 1:
            self.confirm = []

    def script(self):
        end = self.rng.choice((";\n", ";\n\n", "; -- done\n", " ;\n"))
        return "".join(one + end for one in self.statements) + self.rng.choice(("", "", "-- that's all\n", "/* ; */"))


# ---- Changes that must be refused ----------------------------------------------------------------------------------------------

def native(table, rest):
    return f"ALTER TABLE {PLAIN.name(table.name)} {rest}"


def unknown_column(change, table):
    word = change.pick(("DROP COLUMN nosuch", "ALTER COLUMN nosuch TYPE TEXT", "ALTER nosuch SET DEFAULT 1", "RENAME COLUMN nosuch TO other",
                        "ALTER nosuch SET NOT NULL", "ADD UNIQUE (nosuch)", "ADD CHECK (nosuch > 0)", "ADD COLUMN late INT AFTER nosuch",
                        "ALTER nosuch DROP DEFAULT", "ADD FOREIGN KEY (nosuch) REFERENCES " + change.name(table)))
    return word


def unknown_table(change, table):
    return f"ALTER TABLE nosuch_table {change.pick(('ADD COLUMN x INT', 'DROP COLUMN x', 'RENAME TO y', 'REBUILD'))}"


def name_taken(change, table):
    column = change.pick(table.columns)
    change.confirm = [native(table, f"ADD COLUMN {PLAIN.name(column.name)}")]
    others = [one for one in table.columns if one is not column]
    if others and change.chance(0.5):
        return f"RENAME COLUMN {change.name(table, change.pick(others))} TO {change.style.name(column.name)}"
    return f"ADD COLUMN {change.style.ref(column.name)} {'INTEGER' if table.strict else ''}"


def table_name_taken(change, table):
    other = change.pick([one for one in change.model.tables.values() if one is not table] + list(change.model.views.values()))
    change.confirm = [native(table, f"RENAME TO {PLAIN.name(other.name)}")]
    return f"RENAME TO {change.style.name(other.name)}"


def not_null_over_null(change, table):
    column = change.pick(one for one in table.writable() if any(row[1][one.id] is None for row in table.rows)
                         and one is not table.alias())
    column.not_null = True
    return f"ALTER COLUMN {change.name(table, column)} SET NOT NULL"


def added_not_null_without_default(change, table):
    if not table.rows:
        raise Skip
    column = change.maker.column(table, change.fresh_name(table), not_null=True)
    if change.chance(0.3):
        column.default = "NULL"
    change.set_rows(table, column, None)
    return "ADD COLUMN " + change.style.weave(column_chunks(change.model, table, column, change.style))


def check_violated(change, table):
    column = change.pick(one for one in table.writable() if any(row[1][one.id] is not None for row in table.rows))
    expr = [C(table.id, column.id), " IS NULL"]
    change.maker.constraint(table, "check", [], expr=expr)
    return f"ADD CHECK ({expression(change.model, expr, change.style)})"


def added_check_violated(change, table):
    if not table.rows:
        raise Skip
    column = change.maker.column(table, change.fresh_name(table), type="INTEGER", default="5", default_value=5)
    change.maker.constraint(table, "check", [column.id], inline=True, expr=[C(table.id, column.id), " > 5"])
    change.set_rows(table, column, 5)
    return "ADD COLUMN " + change.style.weave(column_chunks(change.model, table, column, change.style))


def unique_violated(change, table):
    column = change.pick(one for one in table.writable() if one is not table.alias() and not change.distinct(table, [one.id]))
    change.maker.constraint(table, "unique", [column.id])
    return f"ADD UNIQUE ({change.name(table, column)})"


def added_unique_violated(change, table):
    if len(table.rows) < 2:
        raise Skip
    column = change.maker.column(table, change.fresh_name(table), type="INTEGER", default="5", default_value=5)
    change.maker.constraint(table, "unique", [column.id], inline=True)
    change.set_rows(table, column, 5)
    return "ADD COLUMN " + change.style.weave(column_chunks(change.model, table, column, change.style))


def foreign_key_violated(change, table):
    parent = change.pick(one for one in change.model.tables.values() if any(len(key) == 1 for key in change.model.keys(one)))
    key = list(change.pick(key for key in change.model.keys(parent) if len(key) == 1))
    known = {row[1].get(key[0]) for row in parent.rows}
    known |= {str(value) for value in known} | {fold(value) for value in known if isinstance(value, str)}
    if parent.column(key[0]).generated:
        raise Skip

    def strange(value):
        return isinstance(value, (int, str)) and not {value, str(value), fold(str(value))} & known and not NUMERIC.match(str(value).lower())

    column = change.pick(one for one in table.writable() if any(strange(row[1][one.id]) for row in table.rows))
    one = change.maker.constraint(table, "foreign key", [column.id])
    change.maker.reference(one, parent, key)
    one.defer = None
    return "ADD " + change.style.weave(constraint_chunks(change.model, table, one, change.style))


def parent_not_unique(change, table):
    parent = change.pick(one for one in change.model.tables.values())
    column = change.pick(one for one in parent.columns if [one.id] not in change.model.keys(parent))
    child = change.pick(table.columns)
    one = change.maker.constraint(table, "foreign key", [child.id], parent=parent.id, parent_columns=[column.id])
    return "ADD " + change.style.weave(constraint_chunks(change.model, table, one, change.style))


def unknown_parent(change, table):
    child = change.name(table, change.pick(table.columns))
    parent = change.pick(change.model.tables.values())
    return change.pick((f"ADD FOREIGN KEY ({child}) REFERENCES nosuch_table (id)", "ADD COLUMN added INTEGER REFERENCES nosuch_table",
                        f"ADD FOREIGN KEY ({child}) REFERENCES {change.name(parent)} (nosuch)"))


def key_count_differs(change, table):
    parent = change.pick(one for one in change.model.tables.values() if len(one.key_ids()) == 2)
    child = change.pick(table.columns)
    one = change.maker.constraint(table, "foreign key", [child.id], parent=parent.id)
    return "ADD " + change.style.weave(constraint_chunks(change.model, table, one, change.style))


def strict_type_cannot_hold(change, table):
    if not table.strict:
        raise Skip
    column = change.pick(one for one in table.writable() if one.id not in table.key_ids() and any(
        isinstance(row[1][one.id], (bytes, str)) and not NUMERIC.match(str(row[1][one.id])) for row in table.rows))
    column.type, column.default = change.pick(("INTEGER", "INT", "REAL")), None
    return f"ALTER {change.name(table, column)} DROP DEFAULT, ALTER {change.name(table, column)} TYPE {column.type}"


def strict_type_unknown(change, table):
    if not table.strict:
        raise Skip
    change.confirm = [native(table, "ADD COLUMN added VARCHAR(20)")]
    column = change.pick(table.columns)
    return change.pick(("ADD COLUMN added VARCHAR(20)", f"ALTER {change.name(table, column)} TYPE DECIMAL(10,2)", "ADD COLUMN untyped"))


def type_loses(change, table):
    column = change.pick(one for one in table.writable() if one.id not in table.key_ids() and any(
        isinstance(row[1][one.id], int) and restored(row[1][one.id], affinity(one.type, table.strict), "REAL")[1] == "lost" for row in table.rows))
    return f"ALTER COLUMN {change.name(table, column)} TYPE REAL"


def drop_needed(word, change, table):
    """A column that something else needs: an index, a view, a constraint on several columns and so on."""
    column = change.pick(one for one in table.columns if word in change.model.uses_of(table, one))
    # SQLite lets a column go that an INSERT of a trigger names, and one whose quoted name then means a string or the rowid.
    if word not in ("trigger", "view") and fold(column.name) not in ("rowid", "oid", "_rowid_"):
        change.confirm = [native(table, f"DROP COLUMN {PLAIN.name(column.name)}")]
    return f"DROP COLUMN {change.name(table, column)}"


def drop_last_column(change, table):
    """All writable columns, the last of them too."""
    if any(set(change.model.uses_of(table, one)) - {"generated column"} for one in table.columns) or len(table.columns) > 3:
        raise Skip
    columns = sorted(table.columns, key=lambda one: one.generated is None)
    return change.style.comma.join(f"DROP COLUMN {change.name(table, one)}" for one in columns)


def drop_key_of_parent(change, table):
    """A UNIQUE or PRIMARY KEY constraint that a foreign key relies on."""
    for one in change.rng.sample(table.constraints, len(table.constraints)):
        if one.kind in ("unique", "primary key") and not table.without_rowid and not one.auto:
            table.constraints.remove(one)
            if change.model.broken_foreign_key():
                if one.name:
                    return f"DROP CONSTRAINT {change.name(one)}"
                if one.kind == "primary key":
                    return "DROP PRIMARY KEY"
                return f"DROP UNIQUE {change.listing(table, one.ids())}"
            table.constraints.append(one)
    raise Skip


def drop_key_without_rowid(change, table):
    if not table.without_rowid:
        raise Skip
    return "DROP PRIMARY KEY"


def unknown_constraint(change, table):
    column = change.pick(table.columns)
    name = change.name(table, column)
    kinds = {one.kind for one in table.constraints if column.id in one.ids()}
    options = ["DROP CONSTRAINT nosuch"]
    options += [f"DROP FOREIGN KEY ({name})"] if "foreign key" not in kinds else []
    options += [f"DROP UNIQUE ({name})"] if "unique" not in kinds else []
    options += [f"DROP CHECK ({name} > 4711)"]
    options += ["DROP PRIMARY KEY"] if table.primary_key() is None else []
    return change.pick(options)


def second_primary_key(change, table):
    if table.primary_key() is None:
        raise Skip
    column = change.pick(table.columns)
    return f"ADD PRIMARY KEY ({change.name(table, column)})"


def default_of_generated(change, table):
    column = change.pick(one for one in table.columns if one.generated)
    column.default = "5"
    return f"ALTER COLUMN {change.name(table, column)} SET DEFAULT 5"


def type_of_autoincrement(change, table):
    if table.primary_key() is None or not table.primary_key().auto:
        raise Skip
    table.alias().type = "TEXT"
    column = table.column(table.key_ids()[0])
    return f"ALTER COLUMN {change.name(table, column)} TYPE TEXT"


def collation_makes_twins(change, table):
    """UNIQUE over a column whose values differ, until a new collation ignores case."""
    column = change.pick(one for one in table.writable() if affinity(one.type, table.strict) == "TEXT" and one.id not in table.key_ids()
                         and change.distinct(table, [one.id])
                         and len({fold(row[1][one.id]) if isinstance(row[1][one.id], str) else index for index, row in enumerate(table.rows)})
                         < len(table.rows))
    column.collate = "NOCASE"
    unique = change.chance(0.5) and [f"ADD UNIQUE ({change.name(table, column)})"]
    if unique:
        change.maker.constraint(table, "unique", [column.id])
    elif not any(one.kind == "unique" and one.columns == [(column.id, None, False)] for one in table.constraints):
        raise Skip
    return ", ".join([f"ALTER {change.name(table, column)} TYPE {column.type} COLLATE NOCASE"] + (unique or []))


def later_statement_fails(change, table):
    return change.pick((f"CREATE INDEX never ON {PLAIN.name(table.name)} (nosuch_column)", "INSERT INTO nosuch_table VALUES (1)",
                              "SELEC 1", "CREATE TABLE x (", "DROP TABLE nosuch_table"))


NEEDING = ("index", "view", "trigger", "generated column", "check", "unique", "foreign key", "primary key", "parent of a foreign key")
REFUSALS = {function.__name__.replace("_", " "): function for function in (
    unknown_column, unknown_table, name_taken, table_name_taken, not_null_over_null, added_not_null_without_default, check_violated,
    added_check_violated, unique_violated, added_unique_violated, foreign_key_violated, parent_not_unique, unknown_parent,
    key_count_differs, strict_type_cannot_hold, strict_type_unknown, type_loses, drop_last_column, drop_key_of_parent,
    drop_key_without_rowid, unknown_constraint, second_primary_key, default_of_generated, type_of_autoincrement, collation_makes_twins,
    later_statement_fails)}
REFUSALS.update({f"drop needed by {word}": functools.partial(drop_needed, word) for word in NEEDING})
WHOLE_STATEMENTS = {"unknown table", "later statement fails"}
BY_ROWS = {"not null over null", "added not null without default", "check violated", "added check violated", "unique violated",
           "added unique violated", "foreign key violated", "parent not unique", "key count differs", "strict type cannot hold",
           "drop key of parent", "default of generated", "type of autoincrement", "collation makes twins"}   # SQLite can confirm these

# ---- Looking at a database -----------------------------------------------------------------------------------------------------

OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


def dump_rows(db, name, columns, wr):
    taken = {fold(column) for column in columns}
    rowid = None if wr else next((one for one in ("rowid", "_rowid_", "oid") if one not in taken), None)
    picked = [rowid or "0"] + [f"quote({PLAIN.name(one)}), typeof({PLAIN.name(one)})" for one in columns]
    return sorted(db.execute(f"SELECT {', '.join(picked)} FROM {PLAIN.name(name)} NOT INDEXED").fetchall())


def dump_table(db, name, wr, strict, sql):
    columns = db.execute('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', (name,)).fetchall()
    shown = [(*one[:3], strip_parentheses(plain_tokens(one[3])) if one[3] is not None else None, *one[4:]) for one in columns]
    indexes = collections.defaultdict(list)
    for index, unique, origin, partial, column, descending, collation in db.execute(
            'SELECT l.name, l."unique", l.origin, l.partial, x.name, x.desc, x.coll FROM pragma_index_list(?) l, '
            "pragma_index_xinfo(l.name) x WHERE x.key ORDER BY l.name, x.seqno", (name,)):
        indexes[index, unique, origin, partial].append((column, descending, fold(collation)))
    keys = collections.defaultdict(list)
    for id, parent, child_column, parent_column, update, delete, match in db.execute(
            'SELECT id, "table", "from", "to", on_update, on_delete, match FROM pragma_foreign_key_list(?) ORDER BY id, seq', (name,)):
        keys[id, fold(parent), update, delete, match].append((fold(child_column), parent_column and fold(parent_column)))
    facts = table_facts(sql)
    return {"columns": shown, "options": (wr, strict), "definitions": facts[0], "constraints": sorted(map(str, facts[1].items())),
            "written options": facts[2],
            "indexes": sorted(map(str, ((None if key[0].startswith("sqlite_") else key[0], *key[1:], parts)
                                        for key, parts in indexes.items()))),
            "foreign keys": sorted(map(str, ((*key[1:], parts) for key, parts in keys.items()))),
            "rows": dump_rows(db, name, [one[0] for one in columns], wr)}


def dump(db):
    """Everything that can be seen of a database."""
    found = {"objects": {}, "tables": {}, "sql": {}}
    options = {name: (wr, strict) for name, wr, strict in db.execute("SELECT name, wr, strict FROM pragma_table_list WHERE schema = 'main'")}
    for type, name, owner, sql in db.execute(OBJECTS).fetchall():
        found["sql"][type, name] = sql
        found["objects"][type, name] = (fold(owner), None if type == "table" else plain_tokens(sql))
        if type == "table":
            found["tables"][name] = dump_table(db, name, *options[name], sql)
        if type == "view":
            cursor = db.execute(f"SELECT * FROM {PLAIN.name(name)}")
            found["tables"][name] = {"columns": [one[0] for one in cursor.description], "rows": sorted(map(repr, cursor.fetchall()))}
    found["sequence"] = {name: value for name, value in read_sequences(db).items() if value}
    for pragma in ("user_version", "application_id", "encoding"):
        found[pragma] = db.execute(f"PRAGMA {pragma}").fetchone()[0]
    found["statistics"] = []
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchone():
        found["statistics"] = db.execute("SELECT tbl, idx, stat FROM sqlite_stat1").fetchall()
    return found


def differences(want, got, path=""):
    """Lines that say where two dumps differ."""
    if want == got:
        return []
    if isinstance(want, dict) and isinstance(got, dict):
        lines = []
        for key in sorted(set(want) | set(got), key=str):
            if key not in want or key not in got:
                lines.append(f"{path}/{key}: {'missing' if key in want else 'left over: ' + repr(got[key])[:300]}")
            else:
                lines += differences(want[key], got[key], f"{path}/{key}")
        return lines
    if isinstance(want, list) and isinstance(got, list):
        missing = [one for one in want if one not in got]
        extra = [one for one in got if one not in want]
        if missing or extra:
            return [f"{path}: expected {one!r}" for one in missing[:4]] + [f"{path}: got {one!r}" for one in extra[:4]]
    return [f"{path}: expected {want!r}", f"{path}: got {got!r}"]


def without_rowids(found, name):
    if name in found["tables"]:
        found["tables"][name]["rows"] = sorted(row[1:] for row in found["tables"][name]["rows"])


# ---- What both databases do ----------------------------------------------------------------------------------------------------

def where_of(table, row):
    if table.rowid_name() and not table.alias():
        return f"{table.rowid_name()} = ?", [row[0]]
    return " AND ".join(f"{PLAIN.name(table.column(id).name)} IS ?" for id in table.key_ids()), [row[1][id] for id in table.key_ids()]


def probe_value(rng, model, table, column):
    keys = [one for one in table.constraints if one.kind == "foreign key" and column.id in one.ids()]
    if keys and rng.random() < 0.7:
        parent = model.tables[keys[0].parent]
        target = (keys[0].parent_columns or parent.key_ids())[keys[0].ids().index(column.id)]
        values = [row[1].get(target) for row in parent.rows]
        if values:
            return rng.choice(values)
    if column is table.alias():
        return rng.randrange(1, 99999)
    if column.id in table.key_ids() or rng.random() < 0.4:
        return fresh_value(rng, column, table.strict)
    return random_value(rng, column, table.strict)


def probes(model, rng, loose):
    """Statements that are executed on both; each with its values."""
    found = []
    for table in model.tables.values():
        name, columns = PLAIN.name(table.name), table.writable()
        for _ in range(2):
            used = [one for one in columns if rng.random() < (0.95 if one.not_null and one.default is None else 0.75)] or columns[:1]
            names = ", ".join(PLAIN.name(one.name) for one in used)
            found.append((f"INSERT INTO {name} ({names}) VALUES ({', '.join('?' * len(used))})",
                          [probe_value(rng, model, table, one) for one in used]))
        if table.id in loose and table.alias() is None or not table.rows or not (table.key_ids() or table.rowid_name()):
            continue
        for _ in range(2):
            where, keys = where_of(table, rng.choice(table.rows))
            column = rng.choice(columns)
            found.append((f"UPDATE {name} SET {PLAIN.name(column.name)} = ? WHERE {where}", [probe_value(rng, model, table, column)] + keys))
        where, keys = where_of(table, rng.choice(table.rows))
        found.append((f"DELETE FROM {name} WHERE {where}", keys))
    for trigger in model.triggers.values():
        if trigger.on in model.views:
            found.append((f"INSERT INTO {PLAIN.name(model.views[trigger.on].name)} (k) VALUES (?)", [rng.choice(TEXTS + INTEGERS)]))
    return found


ONE_CLASS = {"SQLITE_CONSTRAINT_PRIMARYKEY": "UNIQUE", "SQLITE_CONSTRAINT_UNIQUE": "UNIQUE", "SQLITE_CONSTRAINT_ROWID": "UNIQUE"}


def behaviour(db, model, statements, loose):
    """[outcome of each statement], {table: rows after all of them}"""
    db.execute("PRAGMA foreign_keys = ON")
    outcomes = []
    for sql, values in statements:
        step = "statement"
        try:
            db.execute("BEGIN")
            db.execute(sql, values)
            step = "commit"
            db.execute("COMMIT")
            outcomes.append("done")
        except sqlite3.Error as error:
            outcomes.append(f"{step}: {ONE_CLASS.get(error.sqlite_errorname, error.sqlite_errorname)}")
            if db.in_transaction:
                db.execute("ROLLBACK")
    rows = {}
    for table in model.tables.values():
        rows[table.name] = dump_rows(db, table.name, [one.name for one in table.columns], table.without_rowid)
        if table.log or table.id in loose or table.rowid_name() is None or not table.key_ids():
            rows[table.name] = sorted(row[1:] for row in rows[table.name])
    return outcomes, rows


def copy_of(db):
    copy = connect()
    db.backup(copy)
    return copy


def behaviour_differences(change, target, got, statements, counts):
    """Compares what both do. Which of several foreign keys or indexes SQLite asks first depends on the order of creation: when the
    outcomes differ, the expected database is created once more in the order of the other one."""
    want, have = (behaviour(copy_of(db), change.model, statements, change.loose_rowids) for db in (target, got))
    if want != have:
        order = [row[1] for row in got.execute(OBJECTS)]
        want = behaviour(build_target(change.model, order), change.model, statements, change.loose_rowids)
        counts["order of creation mattered"] += 1
    lines = [f"probe {sql} {values!r}: expected {a}, got {b}" for (sql, values), a, b in zip(statements, want[0], have[0]) if a != b]
    return lines + differences(want[1], have[1], "after the probes")


# ---- Comparing -----------------------------------------------------------------------------------------------------------------

def untouched_differences(change, before, after):
    """Objects whose text nothing in the change concerns keep it to the byte; comments in untouched parts of the others stay."""
    lines = []
    old, new = change.before, change.model
    for type, group in (("table", "tables"), ("index", "indexes"), ("view", "views"), ("trigger", "triggers")):
        for id, one in getattr(old, group).items():
            now = getattr(new, group).get(id)
            if now is None or id in change.altered or id in change.renamed or concerned(old, one, change.renamed):
                continue
            if before["sql"][type, one.name] != after["sql"].get((type, now.name)):
                lines.append(f"{type} {one.name}: its text should not have changed: {after['sql'].get((type, now.name))}")
    for comment, owner, part in old.markers:
        if owner in change.altered and part not in change.touched and owner in new.tables and not part_concerned(old, owner, part, change.renamed):
            if comment not in (after["sql"].get(("table", new.tables[owner].name)) or ""):
                lines.append(f"table {new.tables[owner].name}: the comment '{comment}' is lost")
    return lines


def concerned(model, one, renamed):
    if isinstance(one, Table):
        refs = {key.parent for key in one.constraints if key.kind == "foreign key"}
        refs |= {id for key in one.constraints for id in (key.parent_columns or [])}
    elif isinstance(one, Index):
        refs = {one.table} | one.mentions()
    else:
        refs = {part.table for part in one.parts() if isinstance(part, (C, T))} | columns_in(one.parts())
    return bool(refs & renamed)


def part_concerned(model, owner, part, renamed):
    table = model.tables[owner]
    refs = {part}
    for one in table.columns:
        if one.id == part:
            refs |= columns_in(one.generated or [])
    for one in table.constraints:
        if one.id == part or one.inline and one.ids() == [part]:
            refs |= one.mentions() | {one.parent} | set(one.parent_columns or [])
    return bool(refs & renamed)


def statistics_differences(change, before, after):
    """Statistics of indexes and tables of which nothing changed are there as before."""
    kept = set()
    unchanged = {one.name for id, one in change.before.tables.items() if id not in change.altered and id not in change.renamed
                 and id in change.model.tables}
    safe = {one.name for id, one in change.before.indexes.items() if id in change.model.indexes and one.table not in change.renamed
            and not one.mentions() & change.touched and not any(isinstance(part, list) for part, _, _ in one.columns)}
    for table, index, stat in before["statistics"]:
        if table in unchanged or index in safe:
            kept.add((table, index, stat))
    return [f"statistics {one} are lost" for one in kept - set(after["statistics"])]


def schema_differences(change, want, got):
    """Two dumps, but for what need not be equal."""
    for id in change.loose_rowids:
        if id in change.model.tables:
            for found in (want, got):
                without_rowids(found, change.model.tables[id].name)
    ignored = ("sql", "statistics")
    return differences({k: v for k, v in want.items() if k not in ignored}, {k: v for k, v in got.items() if k not in ignored})


def compare(change, target, got, before, rng, counts):
    lines = [f"integrity_check: {row[0]}" for row in got.execute("PRAGMA integrity_check") if row[0] != "ok"]
    lines += [f"foreign_key_check: {row}" for row in got.execute("PRAGMA foreign_key_check")]
    want, have = dump(target), dump(got)
    lines += schema_differences(change, want, have)
    if before is not None:
        lines += untouched_differences(change, before, have) + statistics_differences(change, before, have)
    if not lines:
        lines = behaviour_differences(change, target, got, probes(change.model, rng, change.loose_rowids), counts)
    return lines


# ---- One case ------------------------------------------------------------------------------------------------------------------

class Case:
    """A database, a script, and what is to come of it."""

    def __init__(self, seed, number):
        self.rng = random.Random(f"{seed}:{number}")
        self.builder = self.model = None
        while self.model is None:
            try:
                self.builder = Builder(self.rng, Maker(self.rng).make())
                self.builder.build()
                self.model = self.builder.model
            except Skip:
                pass
        refuse = self.rng.random() < 0.27
        tries = 0
        while tries == 0 or not self.attempt():
            if tries % 16 == 0:      # what is possible in few databases gets some tries before another takes its place
                self.recipe = self.rng.choice(list(REFUSALS)) if refuse else None
            tries += 1

    def attempt(self):
        self.change = change = Change(self.model, self.rng)
        try:
            if self.recipe:
                change.make_refused(self.recipe)
            else:
                change.make_ok()
        except Skip:
            return False
        self.target, self.outcome, self.why = None, "refuse", change.reason
        if change.reason is None:
            try:
                if change.model.broken_foreign_key():
                    raise Violated("foreign key mismatch")
                self.target = build_target(change.model)
                self.outcome = "either" if change.either else "ok"
            except Violated as error:
                self.why = "rows: " + str(error)
                return self.rng.random() < 0.3      # an accident, but a good one
        return True

    def before_text(self):
        wal = "PRAGMA journal_mode = WAL;\n" if self.model.wal else ""
        return wal + "\n".join(self.builder.log) + "\n"

    def write(self, path):
        for end in ("", "-wal", "-shm", "-journal"):
            if os.path.exists(path + end):
                os.remove(path + end)
        db = connect(path)
        self.builder.db.backup(db)
        db.execute("PRAGMA synchronous = OFF")
        if self.model.wal:
            db.execute("PRAGMA journal_mode = WAL")
        db.close()


def refused_differences(case, db):
    """After a refusal the database must be as it was."""
    lines = [f"integrity_check: {row[0]}" for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
    return lines + differences(dump(case.builder.db), dump(db))


def judge(case, code, db, counts):
    """Lines that tell what is wrong with an exit status and the database it left."""
    mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    lines = [] if mode == ("wal" if case.model.wal else "delete") else [f"journal_mode is now {mode}"]
    if code < 0:
        return lines + [f"ended by signal {-code}"]
    if code == 0 and case.outcome == "refuse":
        return lines + [f"applied, but it ought to be refused: {case.why}"]
    if code == 0:
        return lines + compare(case.change, case.target, db, dump(case.builder.db), case.rng, counts)
    counts["debatable, refused"] += case.outcome == "either"
    if case.outcome == "ok":
        lines.append(f"refused (exit status {code}), but it ought to succeed")
    return lines + refused_differences(case, db)


def run_engine(case, command, folder, counts):
    """Lines that tell what is wrong; none when the case passed."""
    path, script = os.path.join(folder, "case.db"), os.path.join(folder, "change.sql")
    case.write(path)
    with open(script, "w", encoding="utf-8") as out:
        out.write(case.change.script())
    try:
        done = subprocess.run([part.format(db=path, sql=script) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    except subprocess.TimeoutExpired:
        return ["it did not end within 60 s"]
    with contextlib.closing(connect(path)) as db:
        try:
            lines = judge(case, done.returncode, db, counts)
        except (sqlite3.Error, IndexError) as error:        # a database or a CREATE text that cannot be read
            lines = [f"the database cannot be looked at: {error}"]
    return lines and lines + ["the engine said: " + done.stdout.decode("utf-8", "replace").strip()]


def run_self(case, counts):
    """The machinery against itself: no engine."""
    if case.outcome != "refuse":
        order = [row[1] for row in case.target.execute(OBJECTS)]
        case.rng.shuffle(order)
        other = build_target(case.change.model, order)
        lines = compare(case.change, case.target, other, None, case.rng, counts)
        for table in case.change.model.tables.values():
            said = sorted(repr([row[1][one.id] for one in table.writable()]) for row in table.rows)
            read_rows(case.target, table)
            lines += differences(said, sorted(repr(list(row[1].values())) for row in table.rows), "model rows")
        return lines
    if case.recipe in BY_ROWS:
        try:
            if not case.change.model.broken_foreign_key():
                build_target(case.change.model)
                return [f"expected to be impossible: {case.why}"]
        except (Violated, sqlite3.OperationalError) as error:
            counts[f"confirmed by SQLite: {case.why}: {str(error).split(chr(34))[0][:50]}"] += 1
    for sql in case.change.confirm:
        try:
            copy_of(case.builder.db).execute(sql)
            return [f"SQLite itself does it, but it is expected to be refused: {sql}"]
        except sqlite3.Error:
            counts[f"confirmed by SQLite: {case.why}"] += 1
    return []


# ---- The program ---------------------------------------------------------------------------------------------------------------

def report_failure(case, number, seed, lines, keep, folder):
    print(f"\n==== case {number} failed; again with: --seed {seed} --only {number}")
    print(f"---- before.sql\n{case.before_text()}---- change.sql\n{case.change.script()}\n---- expected: {case.outcome} {case.why or ''}")
    print("\n".join("  " + line for line in lines), flush=True)
    if keep:
        place = os.path.join(keep, f"case{number}")
        os.makedirs(place, exist_ok=True)
        for name, text in (("before.sql", case.before_text()), ("change.sql", case.change.script()), ("said.txt", "\n".join(lines))):
            with open(os.path.join(place, name), "w", encoding="utf-8") as out:
                out.write(text + "\n")
        case.write(os.path.join(place, "before.db"))
        if os.path.exists(os.path.join(folder, "case.db")):
            shutil.copy(os.path.join(folder, "case.db"), os.path.join(place, "after.db"))
        if case.target:
            with contextlib.closing(connect(os.path.join(place, "target.db"))) as copy:
                case.target.backup(copy)


def closing_table(tally):
    for title, counts in tally.items():
        print(f"\n{title}:")
        for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
            print(f"  {count:6} {name}")
    print()


def note(tally, case):
    tally["outcomes expected"][case.outcome] += 1
    for kind in case.change.kinds if case.outcome != "refuse" else ():
        tally["actions that ought to succeed"][kind] += 1
    if case.outcome == "refuse":
        tally["refusals"][case.why] += 1
    for table in case.model.tables.values():
        if table.id in case.change.altered:
            tally["altered tables"][table.kind + (", strict" if table.strict else "")] += 1
    tally["databases"]["WAL"] += case.model.wal
    tally["databases"]["analyzed"] += case.model.analyze != "no"
    tally["databases"]["with short records"] += any(column.late for table in case.model.tables.values() for column in table.columns)
    tally["databases"]["with triggers"] += bool(case.model.triggers)
    tally["databases"]["with views"] += bool(case.model.views)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", default=ENGINE)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", default=str(SEED))
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep")
    parser.add_argument("--self", action="store_true", dest="alone")
    parser.add_argument("-v", action="store_true", dest="verbose")
    return parser.parse_args()


def main():
    options = arguments()
    command = shlex.split(options.engine)
    print(f"seed {options.seed}", flush=True)
    if not options.alone and shutil.which(os.path.join(ROOT, command[0])) is None and shutil.which(command[0]) is None:
        print(f"there is no {command[0]}\n0 passed, 1 failed")
        return 1
    titles = ("outcomes expected", "actions that ought to succeed", "refusals", "altered tables", "databases", "notes")
    tally = {title: collections.Counter() for title in titles}
    passed = failed = 0
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="random-changes-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        for number in [options.only] if options.only is not None else range(options.cases):
            case = Case(options.seed, number)
            note(tally, case)
            lines = run_self(case, tally["notes"]) if options.alone else run_engine(case, command, folder, tally["notes"])
            passed, failed = passed + (not lines), failed + bool(lines)
            if lines:
                report_failure(case, number, options.seed, lines, options.keep, folder)
            elif options.verbose:
                print(f"case {number}: {case.outcome} {case.why or ''}: {case.change.script()!r}")
    finally:
        shutil.rmtree(folder)
    closing_table(tally)
    print(f"({time.monotonic() - began:.1f} s)")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
