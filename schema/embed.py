#!/usr/bin/env python3
"""Writes the numbered SQL files of a folder as C initialisers, one per file, for api/store/migrate.c.

README: `python3 schema/embed.py schema/versions > build/gen/versions.inc`.  A file is NNNN_name.sql and holds one line
`-- migrate:up` and, after it, one line `-- migrate:down`; versions rise from 1 without a gap.  A row is
    {version, "NNNN_name.sql", "sha256 of the file", up bytes, number of them, down bytes, number of them}
with both texts ended by a NUL that is not counted.  Exit 1 and a sentence on stderr if a file breaks these rules.
"""
import hashlib
import os
import re
import sys

NAME = re.compile(r'([0-9]{4})_[a-z0-9_]+\.sql')
PARTS = re.compile(rb'\A(?P<head>.*?)^-- migrate:up\n(?P<up>.*?)^-- migrate:down\n(?P<down>.*)\Z', re.S | re.M)


def array(data):
    rows = [', '.join(str(byte) for byte in (data + b'\0')[i:i + 32]) for i in range(0, len(data) + 1, 32)]
    return '(const unsigned char[]){\n        ' + ',\n        '.join(rows) + '}'


def initialiser(folder, name, expected):
    match = NAME.fullmatch(name)
    if not match or int(match.group(1)) != expected:
        raise ValueError(f'{name}: expected a file named {expected:04d}_name.sql')
    with open(os.path.join(folder, name), 'rb') as file:
        data = file.read()
    parts = PARTS.match(data)
    if not parts or data.count(b'\n-- migrate:') != 2 or b'\0' in data:
        raise ValueError(f'{name}: needs one line "-- migrate:up" and after it one line "-- migrate:down"')
    if any(line.strip() and not line.startswith(b'--') for line in parts['head'].splitlines()):
        raise ValueError(f'{name}: only comments may stand before "-- migrate:up"')
    up, down = parts['up'], parts['down']
    return (f'    {{{expected}, "{name}", "{hashlib.sha256(data).hexdigest()}",\n'
            f'     {array(up)}, {len(up)},\n     {array(down)}, {len(down)}}},\n')


def main():
    if len(sys.argv) != 2:
        sys.exit('usage: embed.py FOLDER')
    folder = sys.argv[1]
    names = sorted(name for name in os.listdir(folder) if name.endswith('.sql'))
    if not names:
        sys.exit(f'{folder}: no .sql file')
    try:
        text = ''.join(initialiser(folder, name, number) for number, name in enumerate(names, 1))
    except ValueError as problem:
        sys.exit(str(problem))
    print('/* Made by schema/embed.py from ' + folder + '. */')
    sys.stdout.write(text)


if __name__ == '__main__':
    main()
